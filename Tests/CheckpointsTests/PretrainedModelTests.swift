import Checkpoints
import Console
import Foundation
import LLaMA
import ModelFiles
import TensorCore
import TestSupport
import Testing

/// Models that transformers made (scripts/check_huggingface.sh --fixtures), and the logits it computes.
@Suite struct PretrainedModelTests {
    private func load(_ path: String) throws {
        let folder = try ModelFolder(path)
        let model = LLaMA(config: folder.config, pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: 1)
        try folder.loadWeights(into: model)
    }

    @Test(
        "Shards, types, tied and grouped heads, old and new configurations give transformers' logits",
        arguments: PretrainedModel.names)
    func logits(name: String) throws {
        let difference = try PretrainedModel.difference(
            of: ModelFolder("\(PretrainedModel.fixtures)/\(name)"), from: name)
        #expect(difference < 1e-4, "\(difference)")
    }

    @Test("The fixtures are what their names say")
    func fixtures() throws {
        let sharded = try ModelFolder("\(PretrainedModel.fixtures)/\(PretrainedModel.sharded)").config
        #expect(sharded.tieWordEmbeddings && sharded.numKeyValueHeads == 2 && sharded.ropeTheta == 50_000)
        let old = try ModelFolder("\(PretrainedModel.fixtures)/old-config-fp16").config
        #expect(!old.tieWordEmbeddings && old.ropeTheta == 20_000)
        let shard = try SafeTensorsFile(
            path: "\(PretrainedModel.fixtures)/\(PretrainedModel.sharded)/model-00001-of-00005.safetensors")
        #expect(shard.entries.allSatisfy { $0.dtype == .bf16 })
        let file = try SafeTensorsFile(path: "\(PretrainedModel.fixtures)/old-config-fp16/model.safetensors")
        #expect(file.entries.contains { $0.dtype == .f16 })
        #expect(file.contains("model.layers.0.self_attn.rotary_emb.inv_freq"))
    }

    @Test(
        "An index that lies is refused with the names it lies about",
        arguments: [
            (
                "model-00002-of-00005", "model-00009-of-00005",
                "names the shard model-00009-of-00005.safetensors, which is missing"
            ),
            ("\"model-00002-of-00005.safetensors\"", "\"../model-00002-of-00005.safetensors\"", "is no file name"),
            ("\"model-00002-of-00005.safetensors\"", "\"..\"", "is no file name"),
            ("\"model-00002-of-00005.safetensors\"", "7", "weight_map"),
            ("\"weight_map\"", "\"weights\"", "\"weight_map\" is missing"),
            ("\"model.norm.weight\"", "\"model.norm.weights\"", "tensor model.norm.weights should be in model-0000"),
            ("{", "[", "index.json: "),
        ])
    func badIndex(old: String, new: String, words: String) throws {
        let folder = try TemporaryFolder()
        let path = try PretrainedModel.copy(PretrainedModel.sharded, into: folder)
        let index = "\(PretrainedModel.sharded)/model.safetensors.index.json"
        try folder.write(try folder.text(index).replacingOccurrences(of: old, with: new).utf8, index)
        let error = #expect(throws: UserError.self) { try load(path) }
        #expect(error?.kind == .data)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test("A tensor that the index forgets is named, and so is a shard that is gone or cut")
    func badShards() throws {
        let folder = try TemporaryFolder()
        let path = try PretrainedModel.copy(PretrainedModel.sharded, into: folder)
        let index = "\(PretrainedModel.sharded)/model.safetensors.index.json"
        let text = try folder.text(index)
        let forgotten = text.replacingOccurrences(
            of: "\"model.layers.0.mlp.down_proj.weight\"[^,]*,", with: "", options: .regularExpression)
        try folder.write(forgotten.utf8, index)
        let stray = #expect(throws: UserError.self) { try load(path) }
        #expect(stray?.message.contains("model.layers.0.mlp.down_proj.weight, which the index does not place") == true)

        try folder.write(text.utf8, index)
        let shard = "\(PretrainedModel.sharded)/model-00003-of-00005.safetensors"
        try folder.write(try folder.bytes(shard).dropLast(2), shard)
        let cut = #expect(throws: UserError.self) { try load(path) }
        #expect(cut?.message.contains("model-00003-of-00005.safetensors: tensor ") == true, "\(cut?.message ?? "")")
    }

    @Test(
        "A configuration that its weights do not fit is refused with the tensor and both shapes",
        arguments: [
            (
                "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3",
                "tensor model.layers.2.self_attn.q_proj.weight is missing"
            ),
            (
                "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1",
                "tensor model.layers.1.input_layernorm.weight has no place"
            ),
            ("\"intermediate_size\": 40", "\"intermediate_size\": 48", "has shape [40, 32], but [48, 32] is needed"),
            ("\"vocab_size\": 64", "\"vocab_size\": 65", "model.embed_tokens.weight has shape [64, 32], but [65, 32]"),
            ("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", "tensor lm_head.weight is missing"),
        ])
    func otherShape(old: String, new: String, words: String) throws {
        let folder = try TemporaryFolder()
        let path = try PretrainedModel.copy(PretrainedModel.sharded, into: folder)
        let config = "\(PretrainedModel.sharded)/config.json"
        try folder.write(try folder.text(config).replacingOccurrences(of: old, with: new).utf8, config)
        let error = #expect(throws: UserError.self) { try load(path) }
        #expect(error?.kind == .data)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    @Test("A folder without weights, or with a bias, says so")
    func withoutWeights() throws {
        let folder = try TemporaryFolder()
        let path = try PretrainedModel.copy("grouped-fp32", into: folder)
        let weights = "grouped-fp32/model.safetensors"
        let file = try SafeTensorsFile(path: folder.file(weights))
        var tensors: [NamedTensor] = []
        for entry in file.entries {
            tensors.append(NamedTensor(entry.name, Tensor(entry.shape)))
            try file.read(entry.name, into: tensors[tensors.count - 1].tensor)
        }
        tensors.append(NamedTensor("model.layers.0.self_attn.q_proj.bias", Tensor(32)))
        try SafeTensors.write(tensors, to: folder.file(weights))
        let bias = #expect(throws: UserError.self) { try load(path) }
        #expect(bias?.message.contains("q_proj.bias has no place") == true)
        #expect(bias?.hint == "models with biases are not supported")

        try FileManager.default.removeItem(atPath: folder.file(weights))
        let none = #expect(throws: UserError.self) { try load(path) }
        #expect(none?.message.contains("neither model.safetensors nor model.safetensors.index.json") == true)
    }

    @Test("The head that a tied model has in its file is passed over if it is the embedding, else refused")
    func tiedHead() throws {
        let folder = try TemporaryFolder()
        let path = try PretrainedModel.copy("grouped-fp32", into: folder)
        let config = "grouped-fp32/config.json"
        let text = try folder.text(config)
        try folder.write(
            text.replacingOccurrences(of: "\"tie_word_embeddings\": false", with: "\"tie_word_embeddings\": true").utf8,
            config)
        let error = #expect(throws: UserError.self) { try load(path) }
        #expect(
            error?.message.contains("lm_head.weight is not the embedding, though tie_word_embeddings is true") == true)

        let weights = folder.file("grouped-fp32/model.safetensors")
        let file = try SafeTensorsFile(path: weights)
        let tensors = try file.entries.map { entry in
            let tensor = NamedTensor(entry.name, Tensor(entry.shape))
            try file.read(
                entry.name == "lm_head.weight" ? "model.embed_tokens.weight" : entry.name, into: tensor.tensor)
            return tensor
        }
        try SafeTensors.write(tensors, to: weights)
        try load(path)
    }

    @Test("An export as float32 computes the same bits, one as bfloat16 rounds each weight to nearest")
    func export() throws {
        let folder = try TemporaryFolder()
        let source = try ModelFolder("\(PretrainedModel.fixtures)/grouped-fp32")
        try source.export(to: folder.file("full"), as: .f32)
        #expect(
            try PretrainedModel.difference(of: ModelFolder(folder.file("full")), from: "grouped-fp32")
                == PretrainedModel.difference(of: source, from: "grouped-fp32"))

        try source.export(to: folder.file("half"), as: .bf16)
        #expect(try folder.text("half/config.json").contains("\"dtype\" : \"bfloat16\""))
        let original = try SafeTensorsFile(path: source.path + "/model.safetensors")
        let rounded = try SafeTensorsFile(path: folder.file("half/model.safetensors"))
        #expect(rounded.entries.count == original.entries.count)
        for entry in rounded.entries {
            #expect(entry.dtype == .bf16)
            let (before, after) = (Tensor<Float>(entry.shape), Tensor<Float>(entry.shape))
            try original.read(entry.name, into: before)
            try rounded.read(entry.name, into: after)
            #expect(zip(before.elements, after.elements).allSatisfy { BFloat16($0).float == $1 })
        }
        #expect(try ModelFolder(folder.file("half")).config == source.config)

        let again = #expect(throws: UserError.self) { try source.export(to: folder.file("half"), as: .f32) }
        #expect(again?.message == "\(folder.file("half")) is already there")
        #expect(try folder.names() == ["full", "half"])
    }
}
