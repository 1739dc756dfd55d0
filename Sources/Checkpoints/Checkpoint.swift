import Console
import Files
import Foundation
import LLaMA
import ModelFiles
import TensorCore

/// A checkpoint: a folder that Hugging Face loads as it is, and the rest of a run's state.
///
///     config.json             the model's shape
///     model.safetensors       the weights, float32
///     tokenizer.model         the tokenizer, where SentencePiece reads it
///     tokenizer.json          the same for Hugging Face
///     tokenizer_config.json   which class of Hugging Face's reads it
///     optimizer.safetensors   the optimizer's tensors
///     trainer.json            `TrainerState`
///     run.cfg                 the run's settings
///     history.json            what made the run's steps
///     MANIFEST.json           size and CRC-32 of each file above; written last
///
/// The folder appears whole or not at all (`AtomicFile.writeFolder`).
public struct Checkpoint: Sendable {
    public let path: String
    public let state: TrainerState

    package static let manifestName = "MANIFEST.json"
    public static let settingsName = "run.cfg"

    /// What is saved: the state of a run between two steps.
    public struct Contents {
        public var config: LLaMAConfig
        public var parameters: [Parameter]
        /// Named "<parameter>.<state>".
        public var optimizerTensors: [NamedTensor]
        /// Gives some elements of one of those, by its place, where they are not in this process's memory.
        public var readOptimizerTensor: ((_ tensor: Int, Range<Int>) throws -> UnsafeMutableBufferPointer<Float>)?
        public var tokenizer: TokenizerFile?
        public var state: TrainerState
        /// Copies of what the run's folder says of the run.
        public var records: [(name: String, bytes: Data)] = []

        public init(
            config: LLaMAConfig, parameters: [Parameter], optimizerTensors: [NamedTensor], tokenizer: TokenizerFile?,
            state: TrainerState
        ) {
            (self.config, self.parameters, self.optimizerTensors) = (config, parameters, optimizerTensors)
            (self.tokenizer, self.state) = (tokenizer, state)
        }

        /// What the folder will take on the disk, but for some kilobytes of headers.
        public var byteCount: Int {
            parameters.reduce(0) { $0 + $1.weight.byteCount }
                + optimizerTensors.reduce(0) { $0 + $1.tensor.byteCount } + (tokenizer?.byteCount ?? 0)
        }
    }

    /// Writes a checkpoint, replacing one of the same path.
    static func write(
        _ contents: Contents, to path: String, on pool: WorkerPool, progress: ProgressBar?
    ) throws -> Checkpoint {
        try AtomicFile.writeFolder(path) { folder in
            var manifest: [String: FileSummary] = [:]
            func write(_ data: Data, _ name: String) throws {
                manifest[name] = try FileSummary.write(data, to: "\(folder)/\(name)")
            }
            try write(HuggingFaceConfig.encode(contents.config, tokenizer: contents.tokenizer), "config.json")
            manifest["model.safetensors"] = try SafeTensors.write(
                contents.parameters.map { NamedTensor($0.name, $0.weight) }, to: "\(folder)/model.safetensors",
                on: pool, progress: progress)
            for (name, bytes) in try (contents.tokenizer?.files ?? []) + contents.records { try write(bytes, name) }
            manifest["optimizer.safetensors"] = try SafeTensors.write(
                contents.optimizerTensors, to: "\(folder)/optimizer.safetensors", on: pool, progress: progress,
                reading: contents.readOptimizerTensor)
            try write(JSONFile.encode(contents.state), "trainer.json")
            try write(JSONFile.encode(manifest), manifestName)
        }
        return Checkpoint(path: path, state: contents.state)
    }

    init(path: String, state: TrainerState) {
        self.path = path
        self.state = state
    }

    /// Opens a checkpoint and compares every file that `isWanted` names with the manifest. Throws `UserError` where
    /// it is damaged, incomplete, cannot be read, or is not of `step`.
    public init(
        verifying path: String, step: Int? = nil, on pool: WorkerPool = WorkerPool(threads: 1),
        status: StatusLine = StatusLine(), _ isWanted: (String) -> Bool = { _ in true }
    ) throws {
        guard RegularFile.exists("\(path)/\(Self.manifestName)") else {
            throw Self.damaged(path, "\(Self.manifestName) is missing")
        }
        try Self.verify(path, on: pool, status: status, isWanted)
        let state: TrainerState = try JSONFile.read(path: "\(path)/trainer.json")
        if let problem = state.problem { throw Self.damaged(path, "trainer.json: \(problem)") }
        if let step, step != state.step {
            throw Self.damaged(path, "it is of step \(state.step), as its trainer.json says: the folder was renamed")
        }
        self.init(path: path, state: state)
    }

    private static func damaged(_ path: String, _ what: String) -> UserError {
        UserError(
            .data, "\(path) is no good checkpoint: \(what)",
            hint: "use another one, or copy it again; where the file was changed on purpose, remove \(manifestName)")
    }

    /// Compares the files that `isWanted` names with the manifest.
    static func verify(
        _ path: String, on pool: WorkerPool, status: StatusLine = StatusLine(), _ isWanted: (String) -> Bool
    ) throws {
        func damaged(_ what: String) -> UserError { Self.damaged(path, what) }
        let manifest: [String: FileSummary] = try JSONFile.read(path: "\(path)/\(manifestName)")
        for name in ["config.json", "model.safetensors", "optimizer.safetensors", "trainer.json"]
        where manifest[name] == nil {
            throw damaged("\(manifestName) does not name \(name)")
        }
        let files = manifest.filter { isWanted($0.key) }.sorted { $0.key < $1.key }
        // Sizes first: they cost nothing.
        for (name, summary) in files {
            guard !name.contains("/") else { throw damaged("\(manifestName) names \(name)") }
            guard RegularFile.exists("\(path)/\(name)") else { throw damaged("\(name) is missing") }
            let size = try RegularFile("\(path)/\(name)").size
            guard size == summary.bytes else { throw damaged("\(name) has \(size) bytes instead of \(summary.bytes)") }
        }
        let bar = ProgressBar(
            "checking \(path)", total: files.reduce(0) { $0 + $1.value.bytes }, unit: .bytes, line: status)
        defer { bar.finish() }
        for (name, summary) in files {
            guard try FileSummary(of: "\(path)/\(name)", on: pool, progress: bar) == summary else {
                throw damaged("the contents of \(name) have changed (CRC-32)")
            }
        }
    }

    /// Reads the weights. Throws where the checkpoint's model differs from `config` in anything.
    public func loadWeights(into parameters: [Parameter], config: LLaMAConfig, on pool: WorkerPool) throws {
        let stored = try HuggingFaceConfig.read("\(path)/config.json")
        let differences = HuggingFaceConfig.differences(stored: stored, given: config)
        guard differences.isEmpty else {
            throw UserError(
                .usage, "\(path) holds another model: " + differences.joined(separator: ", "),
                hint: "resume with the configuration that the run was started with (config.resolved.cfg)")
        }
        try Self.load(parameters.map { NamedTensor($0.name, $0.weight) }, from: "\(path)/model.safetensors", on: pool)
    }

    /// Reads some elements of a tensor of the file, from a number on.
    package typealias Reader = (_ first: Int, UnsafeMutableBufferPointer<Float>) throws -> Void

    /// Reads the optimizer's tensors. Throws where the checkpoint is of another optimizer or its state
    /// has other tensors. `take`: what reads each of them, by its place, where they do not lie in this process's memory.
    package func loadOptimizer(
        _ name: String, into tensors: [NamedTensor], on pool: WorkerPool,
        _ take: ((_ tensor: Int, Reader) throws -> Void)? = nil
    ) throws {
        let hint = "--reset-optimizer keeps the weights and starts the optimizer's state from zero"
        guard state.optimizer.name == name else {
            throw UserError(
                .usage, "\(path) was made with the optimizer \(state.optimizer.name), the configuration says \(name)",
                hint: hint)
        }
        do {
            try Self.load(tensors, from: "\(path)/optimizer.safetensors", on: pool, take)
        } catch let error as UserError where error.kind == .data {
            throw UserError(.usage, error.message, hint: hint)
        }
    }

    /// Reads exactly these tensors: none may be missing, of another shape, or left over. All are checked
    /// before the first is read.
    static func load(
        _ tensors: [NamedTensor], from path: String, on pool: WorkerPool,
        _ take: ((_ tensor: Int, Reader) throws -> Void)? = nil
    ) throws {
        let file = try SafeTensorsFile(path: path)
        for tensor in tensors { try file.check(tensor.name, shape: tensor.tensor.shape) }
        let wanted = Set(tensors.map(\.name))
        let surplus = file.entries.map(\.name).filter { !wanted.contains($0) }
        if let first = surplus.first {
            throw UserError(
                .data,
                "\(path): tensor \(first) has no place in this model or optimizer"
                    + (surplus.count > 1 ? ", nor have \(surplus.count - 1) others" : ""),
                hint: "the file belongs to another one")
        }
        for (place, tensor) in tensors.enumerated() {
            guard let take else {
                try file.read(tensor.name, into: tensor.tensor, on: pool)
                continue
            }
            let entry = try file.entry(tensor.name)
            try take(place) { try file.read(entry, from: $0, into: $1) }
        }
    }
}
