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
import Ranks
import Settings
import TensorCore
import TokenData

/// Everything a run needs, opened and checked, so that the loop has only numbers to fail on.
///
/// The order matters: what is wrong with the configuration or the data shows before the run's folder
/// is touched.
public final class RunSetup {
    public let configuration: RunConfiguration
    let ranks: Ranks
    /// Of the first rank.
    let records: RunRecords?
    let status: StatusLine
    let pool: WorkerPool
    package let trainingData: TokenDataset
    let evaluator: Evaluator?
    package let model: LLaMA
    /// Which rank steps what.
    let ownership: Ownership
    /// The optimizer of what this rank owns.
    private(set) var optimizer: Optimizer
    /// The state of all ranks' optimizers.
    private(set) var state: SharedState
    let exchange: GradientExchange
    let sampler: BatchSampler
    /// Operations of a token's forward and backward pass.
    let flopsPerToken: Double
    /// What the multiply units of all ranks do at most, in this precision, on these threads.
    private(set) var limit: MachineLimit.Rate
    /// The checkpoint's state that the run continues from; nil: from the beginning.
    let start: TrainerState?

    /// `purpose` says what to do with a run that `output.run_dir` already holds. `resetOptimizer`:
    /// resume with the weights and data position alone, the optimizer's state from zero. `step`: resume from the
    /// checkpoint of that step; nil: from the newest that is whole. `commit` is that of the program's source. `ranks`: who
    /// makes the run together. `cancellation` ends the check of the data by `CancellationError`.
    public init(
        _ configuration: RunConfiguration, purpose: RunDirectory.Purpose = .new, resetOptimizer: Bool = false,
        step: Int? = nil, commit: String = "unknown", ranks: Ranks = Ranks(),
        status: StatusLine = StatusLine(), cancellation: CancellationFlag? = nil
    ) throws {
        (self.configuration, self.ranks, self.status) = (configuration, ranks, status)
        let program = residentBytes()
        let training = configuration.training
        try training.check(ranks: ranks.count)
        ranks.setTimeout(training.communicationTimeout)
        try ranks.together {
            if ranks.isFirst { try RunDirectory.check(configuration.output.runDirectory, for: purpose) }
        }
        let pool = configuration.makePool(sharers: ranks.sharers)
        self.pool = pool
        let inputs = try ranks.together {
            try RunInputs(configuration, pool: pool, isTrusting: !ranks.isFirst, cancellation: cancellation)
        }
        trainingData = inputs.trainingData
        let madeBy = Provenance(commit: commit, threads: pool.workerCount)
        try ranks.checkAlike(configuration, madeBy, inputs.fingerprints)

        let memory = try MemoryPlan(
            configuration, pool: pool, program: program, rank: ranks.rank, ranks: ranks.count)
        let memoryWarning = try ranks.together { try memory.check(on: ranks.shareOfMemory) }

        let model = configuration.makeModel(pool: pool)
        self.model = model
        try ranks.together {
            if ranks.isFirst, purpose != .resume { try Self.initialize(model, configuration, inputs.origins) }
        }
        ownership = Ownership(configuration.optimizer, parameters: model.parameters, ranks: ranks.count)
        optimizer = configuration.makeOptimizer(for: model, pieces: ownership.pieces(of: ranks.rank))
        state = SharedState(optimizer, ownership, parameters: model.parameters, ranks)
        exchange = GradientExchange(model.parameters, ownership.pieces, ranks, pool: pool)
        flopsPerToken =
            FLOPCount(configuration.model, sequenceLength: configuration.data.sequenceLength).trainingPerToken
        var limit = MachineLimit.measured(pool: pool).rate(bf16: training.precision == .bf16)
        var limits = (0..<ranks.count).map { $0 == ranks.rank ? limit.flopsPerSecond : 0 }
        try ranks.merge(&limits)
        limit.flopsPerSecond = limits.reduce(0, +)
        self.limit = limit

        let records = try ranks.together {
            try ranks.isFirst
                ? RunRecords(
                    configuration, purpose: purpose, resetOptimizer: resetOptimizer, step: step,
                    start: RunHistory.Event(.start, step: 0, madeBy: madeBy, data: inputs.fingerprints),
                    trainingData: inputs.trainingData, tokenizer: inputs.tokenizer, pool: pool, status: status)
                : nil
        }
        self.records = records
        var isComplete = false
        defer { if !isComplete, purpose != .resume { records?.directory.abandon() } }
        let saved = try ranks.fromFirst(records?.checkpoint.map { Array(try JSONFile.encode($0.state)) } ?? [])
        start = saved.isEmpty ? nil : try JSONDecoder().decode(TrainerState.self, from: Data(saved))
        evaluator = inputs.validationData.map {
            Evaluator(
                model: model, dataset: $0, tokens: configuration.evaluation.tokens,
                microBatchSize: training.microBatchSize, ranks: ranks)
        }
        sampler = BatchSampler(
            windowCount: trainingData.windowCount, seed: UInt64(configuration.data.seed),
            position: start?.data.position ?? BatchSampler.Position())

        if let start {
            try ranks.together {
                try records?.checkpoint?.loadWeights(
                    into: model.parameters, config: configuration.model, on: pool)
            }
            if !resetOptimizer {
                try state.withFirst {
                    try records?.checkpoint?.loadOptimizer(
                        configuration.optimizer.name, into: state.tensors, on: pool, state.write)
                }
                optimizer.stepCount = start.optimizer.counters["step"] ?? start.step
            }
        } else if purpose == .resume {
            try ranks.together { if ranks.isFirst { try Self.initialize(model, configuration, inputs.origins) } }
        }
        try exchange.broadcast()
        let teams = try ranks.gather(
            Array("\(Format.plural(madeBy.cores, "core")), \(Format.plural(pool.workerCount, "thread"))".utf8)
        )
        .map { String(decoding: $0, as: UTF8.self) }
        try ranks.together {
            guard let records else { return }
            try records.begin()
            for text in notices(records, validationData: inputs.validationData, memory, memoryWarning, teams: teams) {
                try records.log.print(text)
            }
        }
        isComplete = true
    }

    /// The weights that a run begins with: random, or those of a model that has no other tokenizer.
    private static func initialize(
        _ model: LLaMA, _ configuration: RunConfiguration, _ origins: [TokenizerOrigin?]
    ) throws {
        let training = configuration.training
        guard let path = training.initFrom else { return model.initialize(seed: UInt64(training.seed)) }
        let folder = try ModelFolder(path, pool: model.pool)
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
            var again = MachineLimit(pool: pool, seconds: 0.02).rate(bf16: configuration.training.precision == .bf16)
            again.flopsPerSecond *= Double(ranks.count)
            // What was done can be done: one more measurement a run, or few.
            limit.flopsPerSecond = max(again.flopsPerSecond, flopsPerSecond)
        }
        return flopsPerSecond / limit.flopsPerSecond
    }

    /// Sets weights and state back to those before the first step.
    func startAnew() throws {
        try ranks.together { if ranks.isFirst { try Self.initialize(model, configuration, []) } }
        try exchange.broadcast()
        optimizer = configuration.makeOptimizer(for: model, pieces: ownership.pieces(of: ranks.rank))
        state = SharedState(optimizer, ownership, parameters: model.parameters, ranks)
    }

    /// What the first rank alone does with the run's folder. All ranks throw what it throws.
    func withRecords(_ body: (RunRecords) throws -> Void) throws {
        try ranks.together { if let records { try body(records) } }
    }
}
