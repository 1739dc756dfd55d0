/// The keys of settings that people know under the names of other programs (transformers, nanoGPT, llm.c, torchtitan,
/// Megatron), for "did you mean".
package let foreignKeys: [String: String] = {
    let names = [
        "model.hidden_size": "d_model dim n_embd n_embed embed_dim embedding_size hidden_dim model_dim",
        "model.intermediate_size": "d_ff ffn_dim ffn_size ffn_hidden_size mlp_dim mlp_size",
        "model.num_hidden_layers": "num_layers n_layer n_layers layers depth",
        "model.num_attention_heads": "num_heads n_head n_heads heads",
        "model.num_key_value_heads": "n_kv_head n_kv_heads num_kv_heads kv_heads num_query_groups",
        "model.max_position_embeddings": "max_seq_len max_sequence_length n_ctx n_positions context_length",
        "model.rms_norm_eps": "norm_eps layer_norm_eps layernorm_epsilon",
        "model.initializer_range": "init_std init_method_std",
        "model.tie_word_embeddings": "tie_embeddings tied_embeddings weight_tying",
        "data.train": "train_data train_files dataset data_path",
        "data.validation": "val_data eval_data valid_data validation_data",
        "data.sequence_length": "seq_len seq_length block_size max_length context_size",
        "optimizer.name": "optim optimizer_type optimizer_name",
        "optimizer.lr": "learning_rate max_lr peak_lr base_lr",
        "optimizer.weight_decay": "wd",
        "schedule.name": "lr_scheduler_type lr_scheduler scheduler lr_decay_style",
        "schedule.warmup": "warmup_steps num_warmup_steps warmup_iters warmup_ratio lr_warmup_iters",
        "schedule.decay": "decay_steps num_decay_steps warmdown_iters lr_decay_iters",
        "schedule.final_ratio": "min_lr min_lr_ratio min_lr_rate final_lr_fraction",
        "training.steps": "max_steps num_steps total_steps train_steps train_iters max_iters num_iterations",
        "training.tokens": "total_tokens num_tokens max_tokens train_tokens token_budget",
        "training.batch_size": "global_batch_size train_batch_size total_batch_size",
        "training.micro_batch_size":
            "per_device_train_batch_size device_batch_size gradient_accumulation_steps grad_accum_steps",
        "training.precision": "dtype bf16 fp16 mixed_precision",
        "training.recompute": "gradient_checkpointing activation_checkpointing activation_checkpoint",
        "training.gradient_clip": "max_grad_norm grad_clip clip_grad grad_norm_clip max_norm gradient_clip_val",
        "training.init_from": "model_name_or_path pretrained initial_load_path",
        "training.threads": "num_threads num_workers n_threads",
        "evaluation.every": "eval_every eval_steps eval_interval eval_freq val_loss_every",
        "evaluation.tokens": "eval_tokens val_tokens eval_iters",
        "output.run_dir": "output_dir out_dir save_dir log_dir",
        "output.checkpoint_every": "save_steps save_every save_interval checkpoint_interval",
        "output.keep_checkpoints": "save_total_limit keep_latest_k",
    ]
    return Dictionary(
        uniqueKeysWithValues: names.flatMap { path, words in words.split(separator: " ").map { (String($0), path) } })
}()
