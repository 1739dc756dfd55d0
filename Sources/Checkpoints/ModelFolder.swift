import Console
import Files
import Foundation
import LLaMA
import Machine
import ModelFiles
import TensorCore
import TokenData

/// A trained model on the disk: a checkpoint, the newest checkpoint of a run, or any folder that holds
/// a LLaMA as Hugging Face stores it (`config.json`, `model.safetensors` or shards of it, and perhaps
/// `tokenizer.model`).
public struct ModelFolder: Sendable {
    public let path: String
    public let config: LLaMAConfig
    /// Whether the files have been compared with the checkpoint's manifest.
    private let isVerified: Bool

    /// Finds the model; `path` may be the folder of a run, whose checkpoint the workers of `pool` check.
    public init(_ path: String, pool: WorkerPool = WorkerPool(threads: 1)) throws {
        if path.isEmpty { throw UserError.system("open", path, code: ENOENT) }
        let path = path.withoutTrailingSlashes
        let checkpoint = try Self.checkpoints(path, pool)?.newestGood(Self.isOfModel) {
            StatusLine().print("warning: \($0)")
        }
        isVerified = checkpoint != nil
        if let checkpoint {
            self.path = checkpoint.path
        } else if RunFolder.holdsRun(path) {
            // The copy of a run may have no other checkpoint.
            guard access(path + "/checkpoints/latest", F_OK) == 0 else {
                throw UserError(.usage, "the run in \(path) has no checkpoint yet", hint: "let it reach one")
            }
            self.path = path + "/checkpoints/latest"
        } else {
            self.path = path
        }
        guard access(self.path + "/config.json", F_OK) == 0 else {
            if errno != ENOENT { throw UserError.system("open", self.path + "/config.json", code: errno) }
            throw UserError(
                .usage, "\(path) holds no model: there is no config.json",
                hint: "give the folder of a run, of a checkpoint, or of a Hugging Face model")
        }
        config = try HuggingFaceConfig.read(self.path + "/config.json")
    }

    /// The checkpoints whose newest is meant: a run's, or those beside `latest`, which may be an old copy, or point at an
    /// older one where a process was killed.
    private static func checkpoints(_ path: String, _ pool: WorkerPool) -> CheckpointStore? {
        if RunFolder.holdsRun(path) { return CheckpointStore(run: path, pool: pool) }
        let (folder, name) = folderAndName(of: path)
        return name == "latest" ? CheckpointStore(folder: folder, pool: pool) : nil
    }

    private static func isOfModel(_ name: String) -> Bool { name != "optimizer.safetensors" }

    /// Whether it is a checkpoint of ours.
    package var isCheckpoint: Bool { access(path + "/trainer.json", F_OK) == 0 }

    /// The state of the run that made the checkpoint.
    func trainerState() throws -> TrainerState? {
        isCheckpoint ? try JSONFile.read(path: path + "/trainer.json") : nil
    }

    /// The tokenizer, if the folder has one, whose ids the model must know.
    public func loadTokenizer() throws -> Tokenizer? {
        // LLaMA's name and T5's.
        let names = ["tokenizer.model", "spiece.model"]
        guard let name = names.first(where: { access("\(path)/\($0)", F_OK) == 0 }) else { return nil }
        let tokenizer = try Tokenizer(modelFile: "\(path)/\(name)")
        try config.check(
            vocabulary: tokenizer.vocabularySize, of: tokenizer.modelFile, owner: "the model of \(path)")
        try TokenizerOrigin.check(
            [TokenizerOrigin(tokenizer), TokenizerOrigin(trainerState(), of: path)],
            hint: "put the tokenizer back that the run was trained with")
        return tokenizer
    }

    /// Refuses what has another tokenizer than the model.
    public func check(_ origin: TokenizerOrigin?, hint: String) throws {
        let own = try TokenizerOrigin(self)
        if own == nil, origin != nil {
            printToStandardError(
                "note: \(path) does not say what its tokenizer is, so whether the ids mean the same text is not known")
        }
        try TokenizerOrigin.check([own, origin], hint: hint)
    }

    /// The token that texts begin after: in our training data the end of the text before; for other models
    /// the token for this that their tokenizer has.
    public func startOfText(_ tokenizer: Tokenizer) -> Int32? {
        isCheckpoint ? tokenizer.endOfTextID : tokenizer.beginOfTextID ?? tokenizer.endOfTextID
    }

    /// The model with its weights, to compute losses, logits or text with it.
    ///
    /// Throws before anything is allocated where the memory of this machine could never hold it.
    public func loadModel(pool: WorkerPool, microBatchSize: Int, sequenceLength: Int) throws -> LLaMA {
        func make() -> LLaMA {
            LLaMA(config: config, pool: pool, microBatchSize: microBatchSize, sequenceLength: sequenceLength)
        }
        let memory = withoutMemory(make).forwardMemory
        let required = memory.total
        if let machine = MachineMemory.current, required > machine.limit {
            throw UserError(
                .usage,
                "the model of \(path) takes \(Format.bytes(required)), \(machine.owner) is "
                    + "\(Format.bytes(machine.limit)): weights \(Format.bytes(memory.weights)), "
                    + "the rest for \(microBatchSize) sequences of \(sequenceLength) tokens",
                hint: memory.weights > required / 2
                    ? "use a machine with more memory, or a smaller model"
                    : "compute fewer or shorter sequences at once")
        }
        let model = make()
        try loadWeights(into: model)
        return model
    }

    /// Reads the weights into a model of this shape. Where the folder is a checkpoint, what belongs to the
    /// model must be as its manifest says.
    public func loadWeights(into model: LLaMA) throws {
        if !isVerified, RegularFile.exists("\(path)/\(Checkpoint.manifestName)") {
            try Checkpoint.verify(path, on: model.pool, Self.isOfModel)
        }
        do { try ModelWeights(folder: path).load(into: model.parameters, on: model.pool) } catch let error as UserError
        {
            throw CheckpointStore.removal(of: path) ?? error
        }
        if let error = firstNonFinite(model.parameters.map { ($0.name, $0.weight) }, on: model.pool) {
            throw UserError(
                .data, "\(path): \(error)", hint: "the model is of a run that failed, or damaged: use another one")
        }
    }

    /// Throws where this model is none of shape `config`, which stands at `source`.
    package func check(against config: LLaMAConfig, source: String) throws {
        let differences = HuggingFaceConfig.differences(stored: self.config, given: config)
        guard differences.isEmpty else {
            throw UserError(
                .usage, "\(source): \(path) holds another model: " + differences.joined(separator: ", "),
                hint: "leave the model section away to take the model of the folder as it is, or make them agree")
        }
    }
}
