import Configuration
import Console
import LLaMA
import Optimizers
import TokenData

/// Where the tokens come from: the `data` section.
public struct DataSettings: ConfigurationSection {
    public var train = ""
    public var validation: String?
    public var tokenizer: String?
    public var sequenceLength = 0
    public var packing = Packing.stream
    public var seed = 1

    public init() {}

    public static let fields: [Field<DataSettings>] = [
        .required("train", \.train, "training shards: a folder, a file or a glob of .bin files", .path),
        .optional("validation", \.validation, "validation shards; without them nothing is validated", .path),
        .optional(
            "tokenizer", \.tokenizer, "SentencePiece model or tokenizer.json, copied into every checkpoint", .path),
        .required(
            "sequence_length", \.sequenceLength, "tokens of a training sequence",
            .range(1...LLaMAConfig.longestSequence)),
        .init(
            "packing", \.packing,
            "true: documents one after the other; false: one a sequence, cut or padded"),
        .init("seed", \.seed, "seed of the order in which the windows are visited", .nonNegative),
    ]
}

/// How long and in which portions: the `training` section.
public struct TrainingSettings: ConfigurationSection {
    public var steps: Int?
    public var tokens: Int?
    public var batchSize = 0
    /// Sequences computed at once; the last of a lane may be fewer.
    public var microBatchSize: Int {
        get { givenMicroBatchSize ?? min(8, batchSize / gradientLanes) }
        set { givenMicroBatchSize = newValue }
    }
    public var gradientLanes = 1
    public var precision = Precision.fp32
    public var recompute = Recompute.none
    public var gradientClip = 1.0
    public var layerwiseUpdates = false
    public var seed = 1
    public var initFrom: String?
    public var threads = 0
    public var bindThreads = true
    public var communicationTimeout = 600.0
    public var optimizerScratchMiB = Optimizer.defaultScratchBudget >> 20

    private var givenMicroBatchSize: Int?
    public init() {}

    public static let fields: [Field<TrainingSettings>] = [
        .optional("steps", \.steps, "optimizer steps of the whole run", .range(1...1 << 40)),
        .optional(
            "tokens", \.tokens, "tokens of the whole run, in place of steps; rounded up to a step", .range(1...1 << 50)),
        .required("batch_size", \.batchSize, "sequences an optimizer step", .range(1...1 << 24)),
        .optional(
            "micro_batch_size", \.givenMicroBatchSize,
            "sequences computed at once: memory, not mathematics; by default 8, at most batch_size / gradient_lanes",
            .range(1...1 << 24)),
        .init(
            "gradient_lanes", \.gradientLanes,
            "parts of a batch whose gradients are added as a binary tree: as many ranks may share a run, with the same bits",
            .range(1...1 << 16)),
        .init(
            "precision", \.precision, "operands of the matrix products; sums, weights and statistics are always fp32"),
        .init(
            "recompute", \.recompute,
            "activations that the backward pass makes anew: less memory, more time, the same numbers"),
        .init("gradient_clip", \.gradientClip, "largest global norm of the gradient; 0: no clipping", .nonNegative),
        .init(
            "layerwise_updates", \.layerwiseUpdates,
            "update each layer within the backward pass, for steps of one micro-batch: less memory, the same numbers; with "
                + "clipping a second pass"),
        .init("seed", \.seed, "seed of the initial weights", .nonNegative),
        .optional(
            "init_from", \.initFrom,
            "initial weights: a run, a checkpoint or a Hugging Face LLaMA; then `model` may be left away", .path),
        .init(
            "threads", \.threads,
            "worker threads; 0: as many as physical cores may be used, by the quota of a container",
            .range(0...1024)),
        .init("bind_threads", \.bindThreads, "keep each worker to a core of its own where they take all cores"),
        .init(
            "communication_timeout", \.communicationTimeout,
            "seconds after which a rank that the others wait for and that says nothing ends the run", .positive),
        .init(
            "optimizer_scratch_mib", \.optimizerScratchMiB,
            "scratch memory in MiB for matrices that the optimizer works on at once, one at least: memory, not mathematics",
            .range(0...1 << 20)),
    ]

    public mutating func validate() throws {
        switch (steps, tokens) {
        case (nil, nil):
            throw FieldError("steps", "is missing", hint: "give training.steps, or training.tokens")
        case (let steps?, let tokens?):
            throw FieldError(
                "tokens", "\(tokens) is given beside steps, \(steps)", hint: "give one of them: the other follows")
        default: break
        }
        guard gradientLanes.nonzeroBitCount == 1, batchSize.isMultiple(of: gradientLanes) else {
            throw FieldError(
                "gradient_lanes", "\(gradientLanes) is no power of two that divides batch_size, \(batchSize)",
                hint: "at most \(1 << batchSize.trailingZeroBitCount)")
        }
        let lane = batchSize / gradientLanes
        guard microBatchSize <= lane else {
            throw FieldError(
                "micro_batch_size",
                "\(microBatchSize) is more than batch_size, \(batchSize)"
                    + (gradientLanes > 1 ? ", over gradient_lanes, \(gradientLanes)" : ""), hint: "at most \(lane)")
        }
        guard !layerwiseUpdates || microBatchSize == batchSize else {
            throw FieldError(
                "layerwise_updates",
                "true, but a step of \(batchSize) sequences, \(microBatchSize) at a time, must keep their gradients to add "
                    + "them up", hint: "make micro_batch_size as large as batch_size")
        }
        givenMicroBatchSize = microBatchSize
    }

    /// How often a step goes through its batch, forward and backward.
    package var passesPerStep: Double { layerwiseUpdates && gradientClip > 0 ? 2 : 1 }
    /// The micro-batches that a step goes through.
    package var microBatchPasses: Double { passesPerStep * Double(batchSize) / Double(microBatchSize) }

    /// Refuses a number of ranks that cannot share a batch with the same bits.
    package func check(ranks: Int) throws {
        if ranks == 1 || (ranks.nonzeroBitCount == 1 && gradientLanes.isMultiple(of: ranks)) { return }
        let most = 1 << batchSize.trailingZeroBitCount
        throw UserError(
            .usage, "\(ranks) ranks are no power of two that divides training.gradient_lanes, \(gradientLanes)",
            hint: ranks.nonzeroBitCount == 1 && ranks <= most
                ? "begin the run with training.gradient_lanes=\(ranks) or a multiple; the lanes are a part of the run"
                : "start 2, 4, 8, ... ranks, at most \(most) with this training.batch_size")
    }
}

/// How often and how thoroughly the run is validated: the `evaluation` section.
public struct EvaluationSettings: ConfigurationSection {
    public var every = 250
    public var tokens = 1_000_000

    public init() {}

    public static let fields: [Field<EvaluationSettings>] = [
        .init(
            "every", \.every, "steps between validations; the end is always validated; 0: only the end", .nonNegative),
        .init(
            "tokens", \.tokens, "validation tokens, the same ones each time, in whole sequences", .range(1...1 << 50)),
    ]
}

/// What the run leaves behind: the `output` section.
public struct OutputSettings: ConfigurationSection {
    public var runDirectory = ""
    public var checkpointEvery = 500
    public var checkpointMinutes = 30.0
    public var keepCheckpoints = 3
    public var tensorboard = false
    public var jsonl = false

    public init() {}

    public static let fields: [Field<OutputSettings>] = [
        .required("run_dir", \.runDirectory, "folder of the run", .path),
        .init("checkpoint_every", \.checkpointEvery, "steps between checkpoints; 0: not by steps", .nonNegative),
        .init(
            "checkpoint_minutes", \.checkpointMinutes, "minutes after which a checkpoint is due; 0: not by time",
            .nonNegative),
        .init("keep_checkpoints", \.keepCheckpoints, "newest checkpoints that are kept", .range(1...1_000_000)),
        .init("tensorboard", \.tensorboard, "write the log as event files for TensorBoard, too"),
        .init("jsonl", \.jsonl, "write the log as JSON lines (log.jsonl), too"),
    ]
}
