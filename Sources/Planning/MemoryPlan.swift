import Console
import Files
import LLaMA
import Machine
import Optimizers
import Settings
import TensorCore
import TokenData

/// The memory of a training run in bytes, by what it is for, before any of it is allocated.
///
/// The sizes of tensors are exact: a model and an optimizer are made by the very code that a run uses,
/// without memory. What is not tensors is modelled on measurements, which `docs/planning.md` gives.
public struct MemoryPlan: Codable, Equatable, Sendable {
    /// One kind of optimizer state, such as AdamW's second moments.
    public struct State: Codable, Equatable, Sendable {
        /// The rule that keeps it, and its name there: "adamw", "exp_avg_sq".
        public let rule: String
        public let tensor: String
        public var bytes: Int
    }

    public var model: LLaMAMemory
    /// Sums of gradient lanes that wait for their neighbours.
    public var partialGradients: Int
    /// What passes between ranks at a time; 0 for one alone.
    public var exchange: Int
    public var optimizerState: [State]
    /// Scratch of the matrices that the optimizer works on at the same time.
    public var optimizerScratch: Int
    /// Code, libraries, stacks, and the memory in which the libraries pack matrices for each worker.
    public var program: Int
    /// The tokenizer's tables; 0 without one.
    public var tokenizer: Int

    public var stateBytes: Int { optimizerState.reduce(0) { $0 + $1.bytes } }

    /// What must fit, and the largest resident memory that the run will show: `peak_rss_bytes` of its log.
    public var required: Int {
        model.total + partialGradients + stateBytes + optimizerScratch + exchange + program + tokenizer
    }

    /// For each worker, measured: packed matrices of OpenBLAS (its buffers are far larger, but only
    /// that much of them is touched), a stack, the allocator's own.
    private static let bytesPerWorker = 4 << 20
    /// An estimate of what receives and sends gradients and states, and of MPI's own.
    private static let exchangeBytes = 32 << 20
    /// What the libraries touch when they are first used, after the program has started.
    private static let laterProgramBytes = 8 << 20
    /// SentencePiece's tables over the size of its model file.
    private static let tokenizerFactor = 12

    /// The plan of one rank of a run. `program`: the memory of the process before the run.
    public init(
        _ configuration: RunConfiguration, pool: WorkerPool, program: Int, rank: Int = 0, ranks: Int = 1
    ) throws {
        let (model, optimizer) = configuration.dryRun(pool: pool, rank: rank, ranks: ranks)
        self.init(
            model: model.memory, lanes: configuration.training.gradientLanes / ranks, optimizer: optimizer,
            exchange: ranks > 1 ? Self.exchangeBytes : 0,
            program: program + Self.laterProgramBytes + pool.workerCount * Self.bytesPerWorker,
            tokenizer: try configuration.tokenizerFileSize() * Self.tokenizerFactor)
    }

    init(model: LLaMAMemory, lanes: Int, optimizer: Optimizer, exchange: Int, program: Int, tokenizer: Int) {
        (self.model, self.exchange) = (model, exchange)
        partialGradients = lanes.trailingZeroBitCount * model.gradients
        optimizerState = []
        for slot in optimizer.slots {
            for state in slot.state {
                let kind = optimizerState.firstIndex { $0.rule == slot.ruleName && $0.tensor == state.name }
                if let kind {
                    optimizerState[kind].bytes += state.tensor.byteCount
                } else {
                    optimizerState.append(
                        State(rule: slot.ruleName, tensor: state.name, bytes: state.tensor.byteCount))
                }
            }
        }
        optimizerScratch = optimizer.scratchByteCount
        (self.program, self.tokenizer) = (program, tokenizer)
    }

    /// Every class with its bytes, in the order of a report.
    public var rows: [(name: String, bytes: Int)] {
        [
            ("weights", model.weights), ("gradients", model.gradients),
        ]
            + (partialGradients > 0 ? [("partial sums of gradients", partialGradients)] : [])
            + (model.weightOperands > 0 ? [("packed weights", model.weightOperands)] : [])
            + optimizerState.map { ("optimizer state: \($0.rule) \($0.tensor)", $0.bytes) } + [
                ("optimizer scratch", optimizerScratch), ("activations", model.activations),
                ("gradients of activations", model.activationGradients), ("logits, then gradients", model.logits),
                ("workspace", model.workspace), ("program and libraries", program),
            ] + (exchange > 0 ? [("exchange between ranks", exchange)] : [])
            + (tokenizer > 0 ? [("tokenizer", tokenizer)] : [])
    }

    /// The largest classes in a sentence.
    package var summary: String {
        let largest = [
            ("weights", model.weights), ("gradients", model.gradients + partialGradients),
            ("optimizer state", stateBytes), ("activations", model.activations + model.activationGradients),
        ]
        let other = ("other", required - largest.reduce(0) { $0 + $1.1 })
        return (largest + [other]).map { "\($0.0) \(Format.bytes($0.1))" }.joined(separator: ", ")
    }

    /// Throws where the machine could never hold the run. Otherwise a warning where it can't now, or nil.
    public func check(on machine: MachineMemory?) throws -> String? {
        guard let machine else { return nil }
        guard required <= machine.limit else {
            throw UserError(
                .usage,
                "the run takes \(Format.bytes(required)), \(machine.owner) is \(Format.bytes(machine.limit)): \(summary)",
                hint: model.activations > required / 4
                    ? "choose a smaller training.micro_batch_size: results change by rounding alone"
                    : "choose a smaller model, or an optimizer with less state: `cosmos-train plan --all-optimizers`")
        }
        guard required > machine.available else { return nil }
        return "the run takes \(Format.bytes(required)), only \(Format.bytes(machine.available)) are available now: "
            + "it may be killed for lack of memory"
    }
}

/// What `size` gives, nil where its file does not exist yet; other errors are the user's to see.
func ifPresent(_ size: () throws -> Int) throws -> Int? {
    do { return try size() } catch let error as UserError where error.kind == .inputOutput { return nil }
}

extension RunConfiguration {
    /// 0 where there is none, or none yet.
    func tokenizerFileSize() throws -> Int {
        try data.tokenizer.flatMap { path in try ifPresent { try RegularFile(path).size } } ?? 0
    }
}
