import Console
import Files
import Foundation
import TensorCore

/// The weights of a Hugging Face model: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` names. Everything is checked before the first weight is read.
package struct ModelWeights {
    private let files: [String: SafeTensorsFile]
    private let folder: String

    package init(folder: String) throws {
        self.folder = folder
        let single = folder + "/model.safetensors"
        let index = folder + "/model.safetensors.index.json"
        if access(single, F_OK) == 0 {
            let file = try SafeTensorsFile(path: single)
            files = Dictionary(uniqueKeysWithValues: file.entries.map { ($0.name, file) })
        } else if access(index, F_OK) == 0 {
            files = try Self.shards(index, folder)
        } else {
            throw UserError(
                .data, "\(folder) has no weights: neither model.safetensors nor model.safetensors.index.json",
                hint: "copy or download it again; weights in pytorch_model.bin become safetensors by "
                    + "`save_pretrained` of Hugging Face's transformers")
        }
    }

    private struct Index: Decodable {
        let weight_map: [String: String]
    }

    /// Opens the shards and holds each against what the index says of it.
    private static func shards(_ index: String, _ folder: String) throws -> [String: SafeTensorsFile] {
        let hint = "copy or download the model again"
        let map = try JSONFile.read(Index.self, path: index).weight_map
        var opened: [String: SafeTensorsFile] = [:]
        var files: [String: SafeTensorsFile] = [:]
        for (tensor, shard) in map.sorted(by: { ($0.value, $0.key) < ($1.value, $1.key) }) {
            guard !shard.isEmpty, !shard.contains("/"), !shard.contains("\0"), shard != "." && shard != ".." else {
                throw UserError(.data, "\(index): the shard of \(tensor), \"\(shard)\", is no file name", hint: hint)
            }
            let path = folder + "/" + shard
            if opened[shard] == nil {
                guard access(path, F_OK) == 0 else {
                    throw UserError(.data, "\(index) names the shard \(shard), which is missing", hint: hint)
                }
                opened[shard] = try SafeTensorsFile(path: path)
            }
            guard let file = opened[shard], file.contains(tensor) else {
                throw UserError(
                    .data, "\(index): tensor \(tensor) should be in \(shard), which does not have it", hint: hint)
            }
            files[tensor] = file
        }
        for (shard, file) in opened.sorted(by: { $0.key < $1.key }) {
            if let stray = file.entries.first(where: { files[$0.name] !== file }) {
                throw UserError(
                    .data, "\(folder)/\(shard) has the tensor \(stray.name), which the index does not place there",
                    hint: hint)
            }
        }
        return files
    }

    /// Fills exactly these parameters: none may be missing, of another shape or type, and nothing may be
    /// left over but what has no influence.
    package func load(into parameters: [Parameter], on pool: WorkerPool) throws {
        let names = Set(parameters.map(\.name))
        for parameter in parameters {
            guard let file = files[parameter.name] else { throw missing(parameter.name) }
            try file.check(parameter.name, shape: parameter.shape)
        }
        for (name, file) in files.sorted(by: { $0.key < $1.key }) where !names.contains(name) {
            // Old versions stored the rotary frequencies, which follow from the configuration.
            if name.hasSuffix(".rotary_emb.inv_freq") { continue }
            if name == Self.lmHead, try isTied(file, pool) { continue }
            throw UserError(
                .data, "\(file.path): tensor \(name) has no place in this model",
                hint: name.hasSuffix(".bias")
                    ? "models with biases are not supported"
                    : "the file belongs to a model of another architecture or with more layers than config.json says")
        }
        for parameter in parameters {
            try files[parameter.name]?.read(parameter.name, into: parameter.weight, on: pool)
        }
    }

    private static let embedding = "model.embed_tokens.weight"
    private static let lmHead = "lm_head.weight"

    /// Whether the lm_head that a tied model has in its file beside the embedding is the same matrix.
    private func isTied(_ file: SafeTensorsFile, _ pool: WorkerPool) throws -> Bool {
        guard let embedding = files[Self.embedding] else { return false }
        let shapes = try (embedding.entry(Self.embedding).shape, file.entry(Self.lmHead).shape)
        guard shapes.0 == shapes.1 else { return false }
        let (first, second) = (Tensor<Float>(shapes.0), Tensor<Float>(shapes.1))
        try embedding.read(Self.embedding, into: first, on: pool)
        try file.read(Self.lmHead, into: second, on: pool)
        guard memcmp(first.data, second.data, first.byteCount) == 0 else {
            throw UserError(
                .data, "\(file.path): tensor \(Self.lmHead) is not the embedding, though tie_word_embeddings is true",
                hint: "set tie_word_embeddings to false in config.json, or remove the tensor")
        }
        return true
    }

    private func missing(_ name: String) -> UserError {
        let near = closestMatch(to: name, in: Array(files.keys)).map { "there is \($0)" }
        return UserError(
            .data, "\(folder): tensor \(name) is missing from the weights",
            hint: name == Self.lmHead
                ? "if lm_head is the embedding, config.json should say \"tie_word_embeddings\": true"
                : near ?? "there are \(files.count) tensors, of another model than config.json describes")
    }
}
