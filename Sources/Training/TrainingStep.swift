import Console
import LLaMA
import Optimizers
import Settings
import TensorCore

/// A step: the gradient of a batch, its norm, clipping to that, and the optimizer's update of the weights.
///
/// With `training.layerwise_updates` the backward pass hands on the gradients of one layer at a time, whose weights are
/// then updated before the next layer's gradients take their place. Where gradients are clipped, that is the second
/// pass: a first one measures the norm, which depends on all of them. The bits are the same.
final class TrainingStep {
    private let setup: RunSetup
    private let checkpoints: RunCheckpoints
    private let cancellation: CancellationFlag
    private let gradient: BatchGradient
    /// False while the optimizer works: weights and state are then partly the old step's, partly the new one's.
    private(set) var isWhole = true
    /// Seconds of the last step.
    private(set) var optimizerSeconds = 0.0
    var dataSeconds: Double { gradient.dataSeconds }

    init(_ setup: RunSetup, _ checkpoints: RunCheckpoints, cancellation: CancellationFlag) {
        (self.setup, self.checkpoints, self.cancellation) = (setup, checkpoints, cancellation)
        gradient = BatchGradient(
            setup.configuration.training, model: setup.model, data: setup.trainingData, ranks: setup.ranks)
    }

    /// Makes step `number` on some windows; returns their loss and the gradient's norm. Throws `CancellationError` as long as
    /// nothing but gradients has changed, `NumericalError` at any time.
    func make(
        _ number: Int, of windows: [Int], learningRateFactor: Double, progress: (Int) -> Void
    ) throws -> (loss: TokenLoss, gradientNorm: Double) {
        let (optimizer, training) = (setup.optimizer, setup.configuration.training)
        let own = optimizer.slots.map(\.parameter)
        var norm = GradientNorm(setup.ownership.pieces.map(\.parameter))
        optimizerSeconds = 0

        func measure(_ parameters: [Parameter], _ loss: TokenLoss) throws {
            try setup.checkFinite(loss, "training loss")
            try norm.measure(parameters, pool: setup.pool, merge: setup.ranks.merge)
        }
        func update(_ parameters: [Parameter], _ loss: TokenLoss) throws {
            if training.gradientClip > 0 {
                GradientClipping.clip(parameters, norm: norm.value, maxNorm: training.gradientClip, pool: setup.pool)
            }
            if isWhole {
                try checkpoints.noteSoundness(of: number - 1, loss.mean)
                optimizer.stepCount += 1
                isWhole = false
            }
            let started = StatusLine.now()
            try setup.ranks.together { try optimizer.update(parameters, learningRateFactor: learningRateFactor) }
            optimizerSeconds += StatusLine.now() - started
        }
        func compute(_ spend: SpendGradients?) throws -> TokenLoss {
            try gradient.compute(windows, cancellation: cancellation, spend: spend, progress: progress)
        }
        func uninterrupted<Result>(_ body: () throws -> Result) rethrows -> Result {
            try Interruption.waiting(for: "the optimizer's step \(number)", body)
        }
        /// A model that predicts everything has no gradient either.
        func checkAlive(_ loss: TokenLoss) throws {
            guard norm.value == 0, loss.mean > 0.01 else { return }
            throw NumericalError(
                "is exactly 0 though the loss is \(Float(loss.mean)): the model is dead, no step changes it any more",
                tensor: "gradient")
        }

        let loss: TokenLoss
        if !training.layerwiseUpdates {
            loss = try compute(nil)
            try setup.exchange.reduce()
            try measure(own, loss)
            try checkAlive(loss)
            try uninterrupted { try update(own, loss) }
            try setup.exchange.gather()
        } else if training.gradientClip > 0 {
            loss = try compute(measure)
            try checkAlive(loss)
            _ = try uninterrupted { try compute(update) }
        } else {
            loss = try uninterrupted {
                try compute {
                    try measure($0, $1)
                    try update($0, $1)
                }
            }
            try checkAlive(loss)
        }
        // The next pass would do it; here its time is the optimizer's.
        let started = StatusLine.now()
        setup.model.roundWeights()
        optimizerSeconds += StatusLine.now() - started
        isWhole = true
        return (loss, norm.value)
    }
}

extension RunSetup {
    /// Throws where a loss is not finite; names the first weight that is not, if there is one.
    func checkFinite(_ loss: TokenLoss, _ name: String) throws {
        if loss.sum.isFinite { return }
        throw firstNonFinite(model.parameters.map { ($0.name, $0.weight) }, on: pool)
            ?? NumericalError("is not finite, though all weights are", tensor: name)
    }
}
