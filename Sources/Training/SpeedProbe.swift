import Configuration
import Foundation
import Optimizers
import TensorCore

/// Measures on this machine how fast runs of one model will be, each with its optimizer, in some ten
/// seconds and without the memory of the model.
public final class SpeedProbe {
    private let pool: WorkerPool
    private let gradients: GradientProbe

    /// Measures the forward and backward passes.
    ///
    /// Throws where even a model of two layers does not fit the memory.
    public init(_ configuration: RunConfiguration, pool: WorkerPool, machine: MachineMemory?) throws {
        self.pool = pool
        var small = configuration
        small.model.numHiddenLayers = min(2, small.model.numHiddenLayers)
        small.training.givenMicroBatchSize = 1
        let memory = try MemoryPlan(small, pool: pool, program: residentBytes())
        if let machine, memory.required > machine.available {
            throw UserError(
                .usage,
                "the probe of two layers takes \(Format.bytes(memory.required)), only "
                    + "\(Format.bytes(machine.available)) are available", hint: "plan without it: --no-probe")
        }
        gradients = try GradientProbe(configuration, pool: pool, seconds: 6)
    }

    /// Measures the plan's optimizer, for about `seconds`, and completes the plan.
    public func complete(_ plan: inout RunPlan, _ configuration: RunConfiguration, seconds: Double = 4) throws {
        let parameters = configuration.dryRun(pool: pool).model.parameters
        let step = try OptimizerProbe(
            configuration.optimizer, model: configuration.model, parameters: parameters, pool: pool, seconds: seconds)
        let stepSeconds = gradients.secondsPerToken * Double(plan.tokensPerStep) + step.secondsPerStep
        let validations = configuration.validationCount
        // A forward pass is a third of forward and backward.
        let validationSeconds =
            gradients.secondsPerToken / 3 * Double(validations) * Double(configuration.evaluation.tokens)
        let model = configuration.model
        let sequences = "\(gradients.sequences) sequence\(gradients.sequences == 1 ? "" : "s")"
        var method =
            model.numHiddenLayers == 1
            ? "the model itself, \(sequences) at once"
            : "1 and \(gradients.layers) layers of this width, \(sequences) at once; "
                + "each further layer of \(model.numHiddenLayers) as the difference"
        method += "; the optimizer on the matrices of \(step.layers) layer\(step.layers == 1 ? "" : "s")"
        if step.fraction < 1 {
            method += " at 1/\(Int(1 / step.fraction)) of their dimensions, times \(Int(pow(1 / step.fraction, 3)))"
        }
        plan.speed = RunPlan.Speed(
            tokensPerSecond: Double(plan.tokensPerStep) / stepSeconds, stepSeconds: stepSeconds,
            optimizerSeconds: step.secondsPerStep,
            runSeconds: stepSeconds * Double(plan.steps) + validationSeconds,
            flopsPerSecond: gradients.flopsPerSecond, method: method)
    }
}

extension RunConfiguration {
    /// How often a whole run is validated.
    var validationCount: Int {
        guard data.validation != nil else { return 0 }
        let every = evaluation.every
        return every == 0 ? 1 : steps / every + (steps % every == 0 ? 0 : 1)
    }
}
