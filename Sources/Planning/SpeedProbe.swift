import Console
import Foundation
import LLaMA
import Machine
import Optimizers
import Settings
import TensorCore
import TokenData

/// Measures on this machine how fast runs of one model will be, each with its optimizer, in some twenty
/// seconds and without the memory of the model.
public final class SpeedProbe {
    private let pool: WorkerPool
    private let limit: Double
    private let gradients: GradientProbe
    /// Cores that other programs used meanwhile.
    private let othersCores: Double?

    /// Measures the forward and backward passes.
    ///
    /// Throws where even a model of two layers does not fit the memory.
    public init(_ configuration: RunConfiguration, pool: WorkerPool, machine: MachineMemory?) throws {
        self.pool = pool
        limit = MachineLimit.measured(pool: pool).rate(bf16: configuration.training.precision == .bf16).flopsPerSecond
        let before = ProcessorTime()
        gradients = try GradientProbe(configuration, pool: pool, machine: machine, limit: limit, seconds: 10)
        othersCores = ProcessorTime().othersCores(since: before)
    }

    /// Measures the plan's optimizer, for about `seconds`, and completes the plan.
    public func complete(_ plan: inout RunPlan, _ configuration: RunConfiguration, seconds: Double = 4) throws {
        let passes = gradients.rounds.sorted { $0.total < $1.total }
        guard let fastest = passes.first, let slowest = passes.last else {
            plan.speedProblem =
                "each measurement contradicts itself, as where other programs use the machine: plan again when it is idle"
            return
        }
        let middle = passes[passes.count / 2]
        let parameters = configuration.dryRun(pool: pool).model.parameters
        let step = try OptimizerProbe(
            configuration.optimizer, model: configuration.model, parameters: parameters, pool: pool, seconds: seconds)
        let (tokens, passesPerStep) = (Double(plan.tokensPerStep), configuration.training.passesPerStep)
        func stepSeconds(_ passes: PassSeconds, _ ranks: RanksPlan?) -> Double {
            passesPerStep * passes.total * tokens / Double(ranks?.count ?? 1) + gradients.secondsPerStep
                + step.secondsPerStep * (ranks?.optimizerShare ?? 1) + (ranks?.communicationSeconds ?? 0)
        }
        let ranks = plan.ranks
        func stepSeconds(_ passes: PassSeconds) -> Double { stepSeconds(passes, ranks) }
        plan.ranks?.efficiency = ranks.map { stepSeconds(middle, nil) / stepSeconds(middle) / Double($0.count) }
        let validations = Double(configuration.validationCount() * (try configuration.tokensOfValidation()))
        let model = configuration.model
        let sequences = Format.plural(gradients.microBatchSize, "sequence")
        var method =
            model.numHiddenLayers == 1
            ? "the model itself, \(sequences) at once"
            : "1 and \(gradients.layers) layers of this width, \(sequences) at once; "
                + "each further layer of \(model.numHiddenLayers) as the difference"
        method += "; the optimizer on the matrices of \(Format.plural(step.layers, "layer"))"
        if step.fraction < 1 {
            method += " at 1/\(Int(1 / step.fraction)) of their dimensions, times \(Int(pow(1 / step.fraction, 3)))"
        }
        let flopsPerSecond = plan.flopsPerToken / (passesPerStep * middle.total)
        plan.speed = RunPlan.Speed(
            tokensPerSecond: tokens / stepSeconds(middle), slowestTokensPerSecond: tokens / stepSeconds(slowest),
            fastestTokensPerSecond: tokens / stepSeconds(fastest), stepSeconds: stepSeconds(middle),
            optimizerSeconds: step.secondsPerStep * (ranks?.optimizerShare ?? 1),
            runSeconds: stepSeconds(middle) * Double(plan.steps)
                + middle.evaluation * validations / Double(ranks?.count ?? 1),
            flopsPerSecond: flopsPerSecond, mfu: flopsPerSecond / limit, othersCores: othersCores,
            method: "\(passes.count) times \(method)")
    }
}

extension RunConfiguration {
    package func validationCount(after step: Int = 0) -> Int {
        guard data.validation != nil, step < steps else { return 0 }
        let every = evaluation.every
        return every == 0 ? 1 : steps / every - step / every + (steps % every == 0 ? 0 : 1)
    }

    /// The tokens of a validation: those that are wanted, in whole windows, or all that the data has if it is there.
    package func tokensOfValidation() throws -> Int {
        guard let path = data.validation else { return 0 }
        let length = data.sequenceLength
        let wanted = (evaluation.tokens + length - 1) / length * length
        let present = try ifPresent { try TokenDataset.targetCount(of: path, sequenceLength: length) }
        return min(wanted, present ?? wanted)
    }
}

/// Time that processors have spent: all of the machine's, and this program's.
private struct ProcessorTime {
    private let started = StatusLine.now()
    private let all: Double?
    private let own: Double

    init() {
        // "cpu  user nice system idle iowait irq softirq steal ...", in ticks
        let fields = kernelText("/proc/stat")?.split(separator: "\n").first?
            .split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) }
        all = fields.flatMap {
            $0.count == 8 ? ($0.reduce(0, +) - $0[3] - $0[4]) / Double(sysconf(Int32(_SC_CLK_TCK))) : nil
        }
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        own = Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
    }

    /// Cores that all other programs kept busy since `start`; nil where the system does not say.
    func othersCores(since start: ProcessorTime) -> Double? {
        guard let all, let before = start.all else { return nil }
        return max(0, (all - before - (own - start.own)) / (started - start.started))
    }
}
