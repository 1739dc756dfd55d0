import Foundation
import Machine

/// Where the time of a step went, in seconds.
public struct StepPhases: Codable, Equatable, Sendable {
    public var data = 0.0
    public var forward = 0.0
    /// lm_head and loss, forward and backward.
    public var lmHead = 0.0
    public var backward = 0.0
    public var optimizer = 0.0
    /// Exchange of gradients and weights between ranks; nil where there is one alone.
    public var communication: Double?
    /// Zeroing and clipping of gradients, and what the others leave.
    public var rest = 0.0

    public init(optimizer: Double = 0) { self.optimizer = optimizer }

    /// As older checkpoints have them.
    private enum CodingKeys: String, CodingKey {
        case data, forward, lmHead = "head", backward, optimizer, communication, rest
    }

    /// By the names of reports, in order.
    package var all: [(name: String, seconds: Double)] {
        [
            ("data", data), ("forward", forward), ("lm_head and loss", lmHead), ("backward", backward),
            ("optimizer", optimizer),
        ] + (communication.map { [("communication", $0)] } ?? []) + [("rest", rest)]
    }

    package static func += (total: inout StepPhases, part: StepPhases) {
        total.data += part.data
        total.forward += part.forward
        total.lmHead += part.lmHead
        total.backward += part.backward
        total.optimizer += part.optimizer
        if let seconds = part.communication { total.communication = (total.communication ?? 0) + seconds }
        total.rest += part.rest
    }
}

/// What `log.csv` says of one optimizer step.
public struct LogRow: Codable, Equatable, Sendable {
    public var step: Int
    /// Tokens seen so far, this step's included.
    public var tokens: Int
    /// Mean over all tokens of the step, in nats.
    public var trainLoss: Double
    /// Exact mean over the validation tokens, in nats, after this step; nil where there was none.
    public var validationLoss: Double?
    public var learningRate: Double
    /// Global norm before clipping.
    public var gradientNorm: Double
    /// Wall time of the step in seconds: gradients, clipping and optimizer; not validation or checkpoints.
    public var stepSeconds: Double
    public var tokensPerSecond: Double
    /// Operations of the model's forward and backward pass (`FLOPCount`), each second of the step.
    public var flopsPerSecond: Double
    /// Model FLOPs utilization: the same over what the CPU's multiply units do at most, as measured (`MachineLimit`).
    public var mfu: Double
    public var phases: StepPhases
    public var peakRSSBytes: Int

    public init(
        step: Int, tokens: Int, trainLoss: Double, validationLoss: Double? = nil, learningRate: Double,
        gradientNorm: Double, stepSeconds: Double, tokensPerSecond: Double, flopsPerSecond: Double,
        mfu: Double, phases: StepPhases, peakRSSBytes: Int = peakResidentBytes()
    ) {
        (self.step, self.tokens, self.learningRate, self.gradientNorm) = (step, tokens, learningRate, gradientNorm)
        (self.trainLoss, self.validationLoss) = (trainLoss, validationLoss)
        (self.stepSeconds, self.tokensPerSecond, self.phases) = (stepSeconds, tokensPerSecond, phases)
        (self.flopsPerSecond, self.mfu, self.peakRSSBytes) = (flopsPerSecond, mfu, peakRSSBytes)
    }

    /// As older checkpoints have them.
    private enum CodingKeys: String, CodingKey {
        case step, tokens, trainLoss, validationLoss, learningRate, gradientNorm, stepSeconds, tokensPerSecond
        case flopsPerSecond, phases, peakRSSBytes
        case mfu = "limitShare"
    }

    package static let columns = [
        "step", "tokens", "train_loss", "validation_loss", "validation_perplexity", "learning_rate", "gradient_norm",
        "step_seconds", "tokens_per_second", "flops_per_second", "mfu", "data_seconds", "forward_seconds",
        "lm_head_seconds", "backward_seconds", "optimizer_seconds", "rest_seconds", "peak_rss_bytes",
        // Older logs end before this one.
        "communication_seconds",
    ]

    /// The values of `columns`; empty where nothing was measured. Swift writes the shortest digits that give back the
    /// same Double.
    package var fields: [String] {
        ["\(step)", "\(tokens)"]
            + [
                trainLoss, validationLoss, validationLoss.map(exp), learningRate, gradientNorm, stepSeconds,
                tokensPerSecond, flopsPerSecond, mfu, phases.data, phases.forward, phases.lmHead, phases.backward,
                phases.optimizer, phases.rest,
            ].map { $0.map { "\($0)" } ?? "" } + ["\(peakRSSBytes)", phases.communication.map { "\($0)" } ?? ""]
    }
}
