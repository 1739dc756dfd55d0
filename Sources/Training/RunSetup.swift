import Checkpoints
import Configuration
import Console
import Files
import Foundation
import LLaMA
import Machine
import ModelFiles
import Optimizers
import Planning
import Settings
import TensorCore
import TokenData

/// Everything a run needs, opened and checked, so that the loop has only numbers to fail on.
///
/// The order matters: what is wrong with the configuration or the data shows before the run's folder
/// is touched.
public final class RunSetup {
    public let configuration: RunConfiguration
    public let directory: RunDirectory
    public let log: RunLog
    let csv: CSVLog
    let events: TensorBoardLog?
    let store: CheckpointStore
    let pool: WorkerPool
    package let trainingData: TokenDataset
    let evaluator: Evaluator?
    package let model: LLaMA
    private(set) var optimizer: Optimizer
    let sampler: BatchSampler
    /// Operations of a token's forward and backward pass.
    let flopsPerToken: Double
    /// What the CPU's multiply units do at most, in this precision, on these threads.
    private(set) var limit: MachineLimit.Rate
    /// The checkpoint's state that the run continues from; nil: from the beginning.
    let start: TrainerState?
    private let tokenizer: TokenizerFile?
    private let identity: TrainerState.RunIdentity
    /// What has happened to the run.
    private(set) var history: RunHistory

    /// `purpose` says what to do with a run that `output.run_dir` already holds. `resetOptimizer`:
    /// resume with the weights and data position alone, the optimizer's state from zero. `step`: resume from the
    /// checkpoint of that step; nil: from the newest that is whole. `commit` is that of the program's source.
    /// `cancellation` ends the check of the data by `CancellationError`.
    public init(
        _ configuration: RunConfiguration, purpose: RunDirectory.Purpose = .new, resetOptimizer: Bool = false,
        step: Int? = nil, commit: String = "unknown", status: StatusLine = StatusLine(),
        cancellation: CancellationFlag? = nil
    ) throws {
        self.configuration = configuration
        let program = residentBytes()
        let (data, training) = (configuration.data, configuration.training)
        try RunDirectory.check(configuration.output.runDirectory, for: purpose)
        let pool = configuration.makePool()
        self.pool = pool

        if let error = configuration.unsupportedPrecision { throw error }
        var tokenizer = try data.tokenizer.map { try TokenizerFile($0) }
        if let tokenizer {
            try configuration.model.check(
                vocabulary: tokenizer.vocabularySize, of: tokenizer.path, owner: "the model")
        }
        func dataset(_ path: String) throws -> TokenDataset {
            try TokenDataset(
                path: path, sequenceLength: data.sequenceLength, vocabularySize: configuration.model.vocabSize,
                packing: data.packing, pool: pool, cancellation: cancellation)
        }
        let trainingData = try dataset(data.train)
        self.trainingData = trainingData
        if tokenizer?.endOfTextID == nil { tokenizer?.endOfTextID = trainingData.endOfTextID }
        let validationData = try data.validation.map(dataset)
        let origins = [
            tokenizer.map { TokenizerOrigin($0) }, TokenizerOrigin(trainingData, at: data.train),
            validationData.flatMap { TokenizerOrigin($0, at: data.validation ?? "") },
        ]
        try TokenizerOrigin.check(
            origins, hint: "set data.tokenizer to the one that the shards were made with, or tokenize again")

        let memory = try MemoryPlan(configuration, pool: pool, program: program)
        let memoryWarning = try memory.check(on: MachineMemory.current)

        let model = configuration.makeModel(pool: pool)
        self.model = model
        if purpose != .resume { try Self.initialize(model, configuration, origins) }

        self.tokenizer = tokenizer
        let optimizer = configuration.makeOptimizer(for: model)
        self.optimizer = optimizer
        flopsPerToken = FLOPCount(configuration.model, sequenceLength: data.sequenceLength).trainingPerToken
        limit = MachineLimit.measured(pool: pool).rate(bf16: training.precision == .bf16)

        let directory = try RunDirectory(configuration.output.runDirectory, for: purpose)
        var isComplete = false
        defer { if !isComplete, purpose != .resume { directory.abandon() } }
        let log = try RunLog(path: directory.trainLog, status: status)
        let store = CheckpointStore(folder: directory.checkpoints)
        (self.directory, self.log, self.store) = (directory, log, store)
        let checkpoint: Checkpoint?
        if purpose == .resume {
            if let notice = try store.restoreLatest(status: status) { try log.print("note: \(notice)") }
            checkpoint =
                if let step { try store.checkpoint(step: step, status: status) } else {
                    try store.newestGood(status: status) { try? log.print("warning: \($0)") }
                }
        } else {
            checkpoint = nil
        }
        var event = RunHistory.Event(
            checkpoint == nil ? .start : .resume, step: checkpoint?.state.step ?? 0,
            madeBy: Provenance(commit: commit, threads: pool.workerCount),
            data: ["data.train": trainingData.contentFingerprint])
        event.data?["data.validation"] = validationData?.contentFingerprint
        var history = try RunHistory(of: directory.path, at: checkpoint?.path, resuming: true) {
            try? log.print("warning: \($0)")
        }
        event.forkOf = history.beginFork()
        if let checkpoint {
            var resumed = try resumableState(
                of: checkpoint, configuration, directory: directory, data: trainingData, resetOptimizer: resetOptimizer,
                isFork: event.forkOf != nil)
            if let old = history.data["data.validation"], let new = event.data?["data.validation"], old != new {
                resumed.changes.append(
                    RunHistory.Change(
                        setting: "what data.validation holds", old: String(old, radix: 16),
                        new: String(new, radix: 16)))
            }
            start = resumed.state
            event.changes = resumed.changes.isEmpty ? nil : resumed.changes
        } else {
            start = nil
        }
        history.append(event)
        self.history = history

        if let checkpoint, let start {
            try checkpoint.loadWeights(into: model.parameters, config: configuration.model)
            if !resetOptimizer {
                try checkpoint.loadOptimizer(configuration.optimizer.name, into: optimizer.state)
                optimizer.stepCount = start.optimizer.counters["step"] ?? start.step
            }
            if step == nil { try store.pointLatest(to: start.step) } else { try store.goBack(to: start.step) }
        } else if purpose == .resume {
            try Self.initialize(model, configuration, origins)
        }
        sampler = BatchSampler(
            windowCount: trainingData.windowCount, seed: UInt64(data.seed),
            position: start?.data.position ?? BatchSampler.Position())
        evaluator = validationData.map {
            Evaluator(
                model: model, dataset: $0, tokens: configuration.evaluation.tokens,
                microBatchSize: training.microBatchSize)
        }
        identity =
            (event.forkOf == nil ? start?.run : nil)
            ?? TrainerState.RunIdentity(name: folderAndName(of: directory.path).name)

        let loggedSteps = start.map { $0.pendingRow == nil ? $0.step : $0.step - 1 } ?? 0
        // There may be a log without a checkpoint: of a run that was killed before its first one.
        let hasLog = access(directory.log, F_OK) == 0
        csv =
            try hasLog
            ? CSVLog(resuming: directory.log, after: loggedSteps) : CSVLog(creating: directory.log)
        if !hasLog, loggedSteps > 0 {
            try log.print(
                "warning: \(directory.log) is missing: it begins anew, the rows of steps 1 to \(loggedSteps) are lost")
        }
        events =
            try configuration.output.tensorboard
            ? TensorBoardLog(folder: directory.path, firstStep: loggedSteps + 1) : nil
        try AtomicFile.write(configurationText, to: directory.configuration)
        try history.write(in: directory.path)
        for text in notices(validationData: validationData, memory, memoryWarning) { try log.print(text) }
        isComplete = true
    }

    /// The weights that a run begins with: random, or those of a model that has no other tokenizer.
    private static func initialize(
        _ model: LLaMA, _ configuration: RunConfiguration, _ origins: [TokenizerOrigin?]
    ) throws {
        let training = configuration.training
        guard let path = training.initFrom else { return model.initialize(seed: UInt64(training.seed)) }
        let folder = try ModelFolder(path)
        try folder.check(against: configuration.model, source: "training.init_from")
        try TokenizerOrigin.check(
            [TokenizerOrigin(folder)] + origins,
            hint: "tokenize the data with the tokenizer of training.init_from; where the ids mean the same, take its "
                + "tokenizer out of a copy of the folder")
        try folder.loadWeights(into: model)
    }

    /// So many FLOPs a second over the limit. Where they are more, the machine was busy when the limit was
    /// measured, and it is measured again.
    package func mfu(of flopsPerSecond: Double) -> Double {
        if flopsPerSecond > limit.flopsPerSecond {
            let again = MachineLimit(pool: pool, seconds: 0.02).rate(bf16: configuration.training.precision == .bf16)
            // What was done can be done: one more measurement a run, or few.
            limit.flopsPerSecond = max(again.flopsPerSecond, flopsPerSecond)
        }
        return flopsPerSecond / limit.flopsPerSecond
    }

    /// What a checkpoint before the first step holds. The weights are set back to that.
    func initialCheckpointContents() throws -> Checkpoint.Contents {
        try Self.initialize(model, configuration, [])
        optimizer = configuration.makeOptimizer(for: model)
        return try checkpointContents(step: 0, tokens: 0, position: BatchSampler.Position(), pendingRow: nil)
    }

    /// What a checkpoint after `step` and so many tokens holds.
    func checkpointContents(
        step: Int, tokens: Int, position: BatchSampler.Position, pendingRow: LogRow?
    ) throws -> Checkpoint.Contents {
        var contents = Checkpoint.Contents(
            config: configuration.model, parameters: model.parameters, optimizerTensors: optimizer.state,
            tokenizer: tokenizer,
            state: TrainerState(
                step: step, tokens: tokens,
                data: TrainerState.DataState(
                    windowCount: trainingData.windowCount, contentFingerprint: trainingData.contentFingerprint,
                    tokenizerFingerprint: trainingData.tokenizerFingerprint, position: position),
                optimizer: TrainerState.OptimizerState(
                    name: configuration.optimizer.name, counters: ["step": optimizer.stepCount]),
                run: identity, pendingRow: pendingRow))
        contents.records = [
            (Checkpoint.settingsName, Data(configurationText.utf8)),
            (RunHistory.fileName, try history.encoded()),
        ]
        return contents
    }

    /// Adds to the run's history that it stopped, finished or failed.
    func record(_ kind: RunHistory.Event.Kind, step: Int) throws {
        history.append(RunHistory.Event(kind, step: step))
        try history.write(in: directory.path)
    }

    /// The settings, and where others held before.
    private var configurationText: String {
        history.changes.map { "# Not from the first step on: \($0) (\(RunHistory.fileName)).\n" }.joined()
            + configuration.yaml
    }
}
