"""What scripts/check_huggingface.sh runs: models go to transformers and come back, with the same logits."""

import argparse
import csv
import json
import math
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

repository = pathlib.Path(__file__).resolve().parent.parent
tolerance = 1e-4
failures = 0


def report(name, good, measured):
    global failures
    failures += not good
    print(f"{'ok    ' if good else 'FAILED'}  {name:<58} {measured}", flush=True)


def program(*arguments, cwd, expect=0):
    done = subprocess.run([options.program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True)
    if done.returncode != expect:
        sys.exit(f"cosmos-train {' '.join(map(str, arguments))}\nleft with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


# --- Models made by transformers


def make_model(seed, **settings):
    torch.manual_seed(seed)
    shape = dict(
        vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, rms_norm_eps=1e-6, initializer_range=0.2, bos_token_id=None, eos_token_id=1)
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **settings})).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:  # Gains of one would hide a missing or exchanged gain.
            parameter.data.uniform_(0.5, 1.5)
    return model


def rope(theta):
    return {"rope_theta": theta, "rope_type": "default"}


def grouped_tied_sharded_bf16(folder):
    model = make_model(1, num_key_value_heads=2, tie_word_embeddings=True, rope_parameters=rope(5e4))
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="8KB")
    assert (folder / "model.safetensors.index.json").exists()


def old_config_fp16(folder):
    """As transformers 4 and GaLore wrote it: rope_theta at the top, torch_dtype, stored frequencies."""
    model = make_model(2, rope_parameters=rope(2e4))
    model.to(torch.float16).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"], config["dtype"]
    config |= {"architectures": ["LLaMAForCausalLM"], "rope_theta": 2e4, "rope_scaling": None, "torch_dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    for layer in range(2):
        weights[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = 2e4 ** -(torch.arange(0, 8, 2) / 8)
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def grouped_fp32(folder):
    make_model(3, num_key_value_heads=1, rms_norm_eps=1e-5).save_pretrained(folder)


made_there = [grouped_tied_sharded_bf16, old_config_fp16, grouped_fp32]


def name_of(make):
    return make.__name__.replace("_", "-")


def their_logits(folder, tokens):
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0]


def our_logits(folder, tokens, work):
    output = work / "logits.safetensors"
    output.unlink(missing_ok=True)
    program("logits", folder, "--tokens", *tokens, "--output", output, cwd=work)
    return safetensors.torch.load_file(output)["logits"]


def compare_logits(name, folder, work, count=48):
    vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokens = torch.randint(vocabulary, [count], generator=torch.Generator().manual_seed(5)).tolist()
    theirs, ours = their_logits(folder, tokens), our_logits(folder, tokens, work)
    difference = (theirs - ours).abs().max().item()
    report(name, difference < tolerance, f"largest difference of logits {difference:.1e} (up to {theirs.abs().max():.1f})")


def write_fixtures(folder):
    """Small models and the logits that transformers computes, for Tests/CheckpointsTests."""
    tokens = [5, 17, 63, 0, 1, 2, 44, 44, 9, 30]
    for make in made_there:
        target = folder / name_of(make)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        make(target)
        (target / "generation_config.json").unlink(missing_ok=True)
        expected = {"tokens": torch.tensor(tokens, dtype=torch.float32), "logits": their_logits(target, tokens)}
        safetensors.torch.save_file(expected, target / "expected.safetensors")


# --- The checks


def check_models_in(work):
    generator = torch.Generator().manual_seed(7)
    for make in made_there:
        folder = work / name_of(make)
        folder.mkdir()
        make(folder)
        compare_logits(f"{name_of(make)}, made there, here", folder, work)
        # A shard as llm.c writes it, evaluated here and there.
        tokens = torch.randint(64, [8 * 16 + 1], generator=generator)
        shard = work / "tokens.bin"
        header = [20240520, 1, len(tokens)] + [0] * 253
        shard.write_bytes(struct.pack("<256i", *header) + struct.pack(f"<{len(tokens)}H", *tokens.tolist()))
        text = program("eval", folder, "--data", shard, "--sequence-length", 16, cwd=work)
        ours = float(re.search(r"^loss +(\S+)", text, re.M)[1])
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        with torch.no_grad():
            logits = model(tokens[:-1].view(8, 16)).logits
        theirs = torch.nn.functional.cross_entropy(logits.view(-1, 64), tokens[1:]).item()
        report(f"{name_of(make)}, its loss", abs(ours - theirs) < 1e-5, f"{ours:.6f} here, {theirs:.6f} there")
    bias = work / "bias"
    make_model(4, attention_bias=True).save_pretrained(bias)
    text = program("logits", bias, "--tokens", 1, "--output", work / "none", cwd=work, expect=65)
    report("attention biases are refused by name", "attention_bias" in text, text.splitlines()[0])


def configuration(model, **sections):
    sections = {
        "model": model,
        "data": {"train": "shards", "validation": "shards", "tokenizer": "tokenizer.model", "sequence_length": 32},
        "optimizer": {"name": "adamw", "lr": 0.002},
        "training": {"steps": 6, "batch_size": 4},
        "evaluation": {"every": 2, "tokens": 640},
        "output": {"run_dir": "run", "checkpoint_every": 2, "tensorboard": True},
    } | sections
    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in sections.items() if value is not None)


def prepare_data(work, kind):
    text = "\n".join(path.read_text() for path in sorted(repository.glob("Sources/*/*.swift")))
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 20]
    documents = ["\n".join(lines[i : i + 12]) for i in range(0, len(lines), 12)]
    (work / "text.jsonl").write_text("\n".join(json.dumps({"text": document}) for document in documents))
    program(
        "tokenizer", "--input", "text.jsonl", "--output", "tokenizer.model", "--vocab-size", 700, *kind, cwd=work)
    program("tokenize", "--tokenizer", "tokenizer.model", "--input", "text.jsonl", "--output", "shards", cwd=work)


def check_models_out(work):
    kinds = {
        "unigram": ["--model-type", "unigram"],
        "bpe": ["--model-type", "bpe", "--pad-id", -1, "--unk-id", 0, "--bos-id", 1, "--eos-id", 2],
    }
    shape = dict(
        hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=1024,
        max_position_embeddings=64)
    shapes = {"unigram": shape, "bpe": {**shape, "num_key_value_heads": 2, "tie_word_embeddings": True, "rope_theta": 5e4}}
    for kind, arguments in kinds.items():
        folder = work / kind
        folder.mkdir()
        prepare_data(folder, arguments)
        (folder / "run.cfg").write_text(configuration(shapes[kind]))
        program("train", "--config", "run.cfg", cwd=folder)
        checkpoint = folder / "run/checkpoints/step-00000006"
        compare_logits(f"checkpoint with a {kind} tokenizer, there", checkpoint, folder)
        program("export", "run", "--bf16", "--output", "compact", cwd=folder)
        compare_logits("its bfloat16 export, there", folder / "compact", folder)
        dtype = LlamaForCausalLM.from_pretrained(folder / "compact", dtype="auto").dtype
        size = (folder / "compact/model.safetensors").stat().st_size / (checkpoint / "model.safetensors").stat().st_size
        report("its size", dtype == torch.bfloat16 and size < 0.6, f"{100 * size:.0f} % of the checkpoint's, {dtype}")
    check_start_from_theirs(work / "unigram")
    check_tensorboard(work / "unigram")


def check_start_from_theirs(work):
    """A run that begins with a model made there and learns nothing must end with that model."""
    model = make_model(6, vocab_size=704, num_key_value_heads=2)
    model.save_pretrained(work / "start", max_shard_size="20KB")
    training = {"steps": 1, "batch_size": 4, "init_from": "start"}
    (work / "from.cfg").write_text(
        configuration(
            None, optimizer={"name": "adamw", "lr": 0}, training=training, output={"run_dir": "run-from"}))
    program("train", "--config", "from.cfg", cwd=work)
    end = LlamaForCausalLM.from_pretrained(work / "run-from/checkpoints/latest").state_dict()
    same = all(torch.equal(end[name], tensor) for name, tensor in model.state_dict().items())
    report("training.init_from takes a model made there", same, "every weight as it was")


def check_tensorboard(work):
    """Steps 5 and 6 are thrown away and made anew: each step must be there once, with the log's numbers."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for step in ["step-00000006"]:
        shutil.rmtree(work / "run/checkpoints" / step)
    (work / "run/checkpoints/latest").unlink()
    program("train", "--config", "run.cfg", "--resume", cwd=work)
    sessions = len(list((work / "run").glob("events.out.tfevents.*")))
    events = EventAccumulator(str(work / "run"), size_guidance={"scalars": 0})
    events.Reload()
    with open(work / "run/log.csv") as file:
        rows = list(csv.DictReader(file))
    tags = {tag.split("/")[1]: tag for tag in events.Tags()["scalars"]}
    good = set(tags) == set(rows[0]) - {"step"} and sessions == 2
    settings = HParamsPluginData.FromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    good &= settings.session_start_info.hparams["optimizer.name"].string_value == "adamw"
    for tag in tags:
        expected = [(int(row["step"]), float(row[tag])) for row in rows if row[tag]]
        found = [(event.step, event.value) for event in events.Scalars(tags[tag])]
        good &= [step for step, _ in expected] == [step for step, _ in found]
        good &= all(math.isclose(a[1], b[1], rel_tol=1e-6) for a, b in zip(expected, found))
    report("TensorBoard reads the events of both sessions and the settings", good, f"{len(tags)} scalars, {len(rows)} steps, each once")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--program", required=True)
parser.add_argument("--model", type=pathlib.Path)
parser.add_argument("--fixtures", type=pathlib.Path)
options = parser.parse_args()
print(f"transformers {transformers.__version__}, torch {torch.__version__}")
if options.fixtures:
    write_fixtures(options.fixtures)
    sys.exit()
with tempfile.TemporaryDirectory() as work:
    check_models_in(pathlib.Path(work))
    check_models_out(pathlib.Path(work))
    if options.model:
        folder = options.model
        if (folder / "checkpoints/latest").exists():
            folder = folder / "checkpoints/latest"
        compare_logits(str(options.model), folder, pathlib.Path(work))
print(f"{failures} failed" if failures else "all is well")
sys.exit(1 if failures else 0)
