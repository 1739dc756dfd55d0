import Console
import Files
import Foundation
import LLaMA
import ModelFiles
import TensorCore

extension ModelFolder {
    /// What a folder may hold beside the configuration and the weights that belongs to the model.
    private static let companions = [
        "tokenizer.model", "spiece.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "generation_config.json",
    ]

    /// Writes the model alone, without the state of a run, as a new folder that Hugging Face loads: the
    /// weights in one file as `dtype` (f32 or bf16), the tokenizer as it is. The folder appears whole or
    /// not at all. Returns the bytes of the weights' file.
    @discardableResult
    public func export(to folder: String, as dtype: SafeTensors.DType) throws -> Int {
        guard access(folder, F_OK) != 0 else {
            throw UserError(.usage, "\(folder) is already there", hint: "give --output a folder that does not exist")
        }
        let tokenizer = try loadTokenizer()
        let pool = WorkerPool()
        let model = try loadModel(pool: pool, microBatchSize: 1, sequenceLength: 1)
        let weights = model.parameters.map { NamedTensor($0.name, $0.weight) }
        let bar = ProgressBar(
            "writing \(folder)", total: model.parameterCount * dtype.byteCount, unit: .bytes)
        defer { bar.finish() }
        return try AtomicFile.writeFolder(folder, mustBeNew: true) { temporary in
            let file: FileSummary
            do {
                file = try SafeTensors.write(
                    weights, as: dtype, to: temporary + "/model.safetensors", on: pool, progress: bar)
            } catch let error as UserError where error.kind == .data {
                let source = path + "/model.safetensors"
                throw UserError(
                    .data, "\(RegularFile.exists(source) ? source : path): \(error.message)", hint: error.hint)
            }
            let json = try HuggingFaceConfig.encode(
                contentsOf: path + "/config.json", dtype: dtype == .bf16 ? "bfloat16" : "float32")
            try AtomicFile.write(json, to: temporary + "/config.json")
            for name in Self.companions where access("\(path)/\(name)", F_OK) == 0 {
                let bytes = try RegularFile.contents(of: "\(path)/\(name)", limit: 1 << 30)
                try AtomicFile.write(bytes, to: "\(temporary)/\(name)")
            }
            // A checkpoint may be older than this way of writing them.
            let own = isCheckpoint ? try tokenizer.map { try TokenizerFile($0).files } : nil
            for (name, bytes) in own ?? [] { try AtomicFile.write(bytes, to: "\(temporary)/\(name)") }
            return file.bytes
        }
    }
}
