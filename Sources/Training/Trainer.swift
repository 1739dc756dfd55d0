import Checkpoints
import Configuration
import Console
import Foundation
import LLaMA
import Optimizers
import Settings
import TensorCore
import TokenData

/// The training loop.
///
/// A step computes the gradient of its batch, clips its global norm, and lets the optimizer update the weights. Between steps the run
/// can be saved and continued bit for bit; a step that is interrupted is thrown away and made anew.
public final class Trainer {
    public enum Outcome: Sendable {
        case finished
        /// By the user, after this many steps; a checkpoint holds them.
        case stopped(step: Int)
    }

    public let configuration: RunConfiguration
    let setup: RunSetup
    private let cancellation: CancellationFlag
    private var step: Int
    private var tokens: Int
    private var sampler: BatchSampler
    /// The step that is being made, or was made last.
    private var stepUnderWay: Int
    /// False while the optimizer works: weights and state are then partly the old step's, partly the new one's.
    private var isWhole = true
    /// The row of the last step while its validation is due, so that it is not yet in the log.
    private var pendingRow: LogRow?
    /// The step of the newest checkpoint.
    private var savedStep: Int?
    /// The newest checkpoint known to be sound, by the loss that its weights had.
    private var soundStep: Int?
    private var savedAt = StatusLine.now()
    private let gradient: BatchGradient
    private var progress: TrainingProgress
    /// The time of all steps of this process.
    private var phases = StepPhases()
    private var lastRow: LogRow?

    /// Continues where `setup` stands. `cancellation` ends the run at the next opportunity.
    public init(_ setup: RunSetup, cancellation: CancellationFlag) {
        self.setup = setup
        self.cancellation = cancellation
        configuration = setup.configuration
        step = setup.start?.step ?? 0
        tokens = setup.start?.tokens ?? 0
        stepUnderWay = step
        savedStep = setup.start?.step
        pendingRow = setup.start?.pendingRow
        sampler = setup.sampler
        gradient = BatchGradient(configuration.training, model: setup.model, data: setup.trainingData)
        let data = setup.trainingData
        let tokensPerStep =
            Double(data.targetCount) / Double(data.windowCount) * Double(configuration.training.batchSize)
        progress = TrainingProgress(
            steps: configuration.steps, firstStep: step, tokensPerStep: Int(tokensPerStep.rounded()),
            validationTokens: setup.evaluator?.tokenCount ?? 0,
            validationsAfter: configuration.validationCount(after:), status: setup.log.status)
    }

    /// Trains to the end, or until it is cancelled. Throws `RunFailure` where the numbers fail.
    public func run() throws -> Outcome {
        if step == configuration.steps, pendingRow == nil {
            try setup.log.print(
                "note: the run is already complete; a longer one goes on from it with "
                    + "`cosmos-train fork \(setup.directory.path) --set training.steps=...`")
        }
        do {
            try completeRow()
            while step < configuration.steps {
                let knownSoundStep = soundStep
                pendingRow = try trainStep()
                if soundStep != knownSoundStep { try removeOld() }
                try completeRow()
                if isCheckpointDue { try save() }
            }
            if savedStep != step { try save() }
            if let loss = lastRow?.validationLoss {
                noteSoundness(loss)
                try removeOld()
            }
        } catch let error as NumericalError {
            throw try failure(error)
        } catch {
            // The user stops the run, or data can no longer be read: the state is good.
            guard error is CancellationError || (error as? UserError)?.kind == .data else { throw error }
            do {
                if savedStep != step { try save() }
            } catch let error as NumericalError {
                throw try failure(error)
            }
            try setup.record(.stop, step: step)
            setup.log.status.finish()
            if let error = error as? UserError { try setup.log.record(error.description) }
            try setup.log.print("stopped after step \(step); continue with --resume")
            if error is UserError { throw error }
            return .stopped(step: step)
        }
        try setup.record(.finish, step: step)
        setup.log.status.finish()
        try setup.log.print(try summary())
        return .finished
    }

    /// One optimizer step. Until the optimizer has made it, nothing changes but the gradients.
    private func trainStep() throws -> LogRow {
        let (model, training) = (setup.model, configuration.training)
        let started = StatusLine.now()
        progress.begin()
        var phases = StepPhases()
        let passes = model.passSeconds
        stepUnderWay = step + 1
        var sampler = self.sampler
        let loss = try gradient.compute(sampler.next(training.batchSize), cancellation: cancellation) {
            progress.show(tokensOfStep: $0)
        }
        if !loss.sum.isFinite {
            throw firstNonFinite(model.parameters.map { ($0.name, $0.weight) }, on: setup.pool)
                ?? NumericalError("is not finite, though all weights are", tensor: "training loss")
        }
        let norm = try GradientClipping.globalNorm(model.parameters, pool: setup.pool)
        // A model that predicts everything has none either.
        if norm == 0, loss.mean > 0.01 {
            throw NumericalError(
                "is exactly 0 though the loss is \(Float(loss.mean)): the model is dead, no step changes it any more",
                tensor: "gradient")
        }
        if training.gradientClip > 0 {
            GradientClipping.clip(model.parameters, norm: norm, maxNorm: training.gradientClip, pool: setup.pool)
        }
        if savedStep == step { noteSoundness(loss.mean) }
        let factor = configuration.schedule.factor(step: step, of: configuration.steps)
        // Once it has begun, a step is made to its end.
        if cancellation.isRequested { throw CancellationError() }
        let optimizerStarted = StatusLine.now()
        isWhole = false
        try Interruption.waiting(for: "the optimizer's step \(stepUnderWay)") {
            try setup.optimizer.step(learningRateFactor: factor)
        }
        // The next pass would do it; here its time is the optimizer's.
        model.roundWeights()
        isWhole = true
        let ended = StatusLine.now()
        step += 1
        tokens += loss.count
        self.sampler = sampler
        phases.data = gradient.dataSeconds
        phases.forward = model.passSeconds.forward - passes.forward
        phases.lmHead = model.passSeconds.lmHead - passes.lmHead
        phases.backward = model.passSeconds.backward - passes.backward
        phases.optimizer = ended - optimizerStarted
        phases.rest = max(0, ended - started - phases.all.reduce(0) { $0 + $1.seconds })
        self.phases += phases
        let seconds = ended - started
        let flops = setup.flopsPerToken * Double(gradient.positions) / seconds
        let mfu = setup.mfu(of: flops)
        progress.finishStep(seconds: seconds, loss: loss.mean, mfu: mfu)
        return LogRow(
            step: step, tokens: tokens, trainLoss: loss.mean,
            learningRate: configuration.optimizer.hyperparameters.lr * factor, gradientNorm: norm,
            stepSeconds: seconds, tokensPerSecond: Double(loss.count) / seconds, flopsPerSecond: flops,
            mfu: mfu, phases: phases)
    }

    /// Validates if it is time, and logs the last step.
    private func completeRow() throws {
        guard var row = pendingRow else { return }
        let every = configuration.evaluation.every
        if let evaluator = setup.evaluator, step == configuration.steps || (every > 0 && step % every == 0) {
            progress.begin()
            let loss = try evaluator.loss(cancellation: cancellation) {
                progress.show(validated: $0, of: evaluator.tokenCount)
            }
            progress.finishValidation()
            guard loss.sum.isFinite else {
                throw firstNonFinite(setup.model.parameters.map { ($0.name, $0.weight) }, on: setup.pool)
                    ?? NumericalError("is not finite, though all weights are", tensor: "validation loss")
            }
            row.validationLoss = loss.mean
            try setup.log.print(
                String(
                    format: "step %*ld   train loss %.4f   validation loss %.4f   perplexity %.2f",
                    String(configuration.steps).count, step, row.trainLoss, loss.mean, exp(loss.mean)))
        }
        try setup.csv.append(row)
        try setup.events?.append(row)
        pendingRow = nil
        lastRow = row
    }

    /// From the checkpoint of this step the run can be made longer.
    private var decayStart: Int? { configuration.schedule.decayStart(of: configuration.steps) }

    private var isCheckpointDue: Bool {
        let output = configuration.output
        return step == decayStart || (output.checkpointEvery > 0 && step % output.checkpointEvery == 0)
            || (output.checkpointMinutes > 0 && StatusLine.now() - savedAt >= 60 * output.checkpointMinutes)
    }

    /// What a checkpoint of the last complete step holds. Throws where a value is not finite: nothing could go on from it.
    private func contents() throws -> Checkpoint.Contents {
        let contents = try setup.checkpointContents(
            step: step, tokens: tokens, position: sampler.position, pendingRow: pendingRow)
        let states = contents.optimizerTensors.map { ($0.name, $0.tensor) }
        let weights = contents.parameters.map { ($0.name, $0.weight) }
        if let error = firstNonFinite(weights + states, on: setup.pool) { throw error }
        return contents
    }

    private func save() throws {
        let contents = try contents()
        try setup.csv.synchronize()
        try setup.store.save(contents, status: setup.log.status)
        savedStep = step
        savedAt = StatusLine.now()
        try removeOld()
    }

    /// Deletes the checkpoints that are too many. What is newer than the newest that is known to be sound may hold
    /// weights that have exploded, so that one stays, or, where none is known, all that were there at the start.
    private func removeOld() throws {
        try setup.store.removeOld(upTo: step, keep: configuration.output.keepCheckpoints) { old in
            old == decayStart || (soundStep.map { old == $0 } ?? (old <= setup.start?.step ?? -1))
        }
    }

    /// Notes whether the newest checkpoint is sound. `loss` is that of its weights.
    private func noteSoundness(_ loss: Double) {
        // 1.5 times the loss of a model that knows nothing.
        if loss < 1.5 * log(Double(configuration.model.vocabSize)) { soundStep = savedStep }
    }

    /// Ends a run whose numbers failed. No checkpoint is removed. The state before the failure is set aside, unless the
    /// optimizer was changing it or it is bad itself. Checkpoints after the newest that is known to be sound are set aside,
    /// too. Where there is none, the state that the run began with becomes one.
    private func failure(_ error: NumericalError) throws -> RunFailure {
        var isAside = false
        if isWhole, savedStep != step {
            do {
                try setup.store.saveAside(try contents(), status: setup.log.status)
                isAside = true
            } catch is NumericalError {
            } catch let error as UserError {
                try setup.log.print("warning: the state before the failure is lost: \(error.message)")
            }
        }
        if savedStep == nil {
            try setup.store.save(try setup.initialCheckpointContents(), status: setup.log.status)
            savedStep = 0
        } else if let sound = soundStep ?? setup.start?.step {
            try setup.store.goBack(to: sound)
            isAside = isAside || (isWhole && savedStep == step && sound < step)
            savedStep = sound
        }
        let failure = RunFailure(
            step: stepUnderWay, error: error, checkpoint: savedStep.map(setup.store.path(step:)),
            aside: isAside ? setup.store.asidePath(step: step) : nil)
        setup.log.status.finish()
        try setup.log.record(failure.description)
        try setup.record(.failure, step: step)
        return failure
    }

    private func summary() throws -> String {
        var rows = [["trained", "\(step) steps, \(Format.count(tokens)) tokens"]]
        if let row = lastRow {
            rows.append(["train loss", String(format: "%.4f in the last step", row.trainLoss)])
            if let loss = row.validationLoss {
                rows.append(["validation loss", String(format: "%.4f, perplexity %.2f", loss, exp(loss))])
            }
        }
        if let evaluator = setup.evaluator {
            rows.append([
                "unigram entropy", String(format: "%.4f, of the validation tokens", try evaluator.unigramEntropy()),
            ])
        }
        let total = phases.all.reduce(0) { $0 + $1.seconds }
        if total > 0 {
            let shares = phases.all.map { String(format: "%@ %.1f %%", $0.name, 100 * $0.seconds / total) }
            rows.append(["time", shares.joined(separator: ", ")])
        }
        rows.append(["checkpoint", setup.store.path(step: step)])
        rows.append(["log", setup.directory.log])
        return aligned(rows)
    }
}

/// A run that ended because its numbers did.
public struct RunFailure: Error, CustomStringConvertible {
    public let step: Int
    public let error: NumericalError
    /// The newest checkpoint, which `--resume` takes.
    public let checkpoint: String?
    /// What the failed step began with.
    public let aside: String?

    public var description: String {
        var hint = "train with a lower optimizer.lr or a longer schedule.warmup"
        if let checkpoint { hint += "; --resume goes on from \(checkpoint)" }
        if let aside { hint += "; the state before the failure is \(aside) (--resume --step \(step - 1))" }
        return "error: step \(step): \(error)\nhint: \(hint)"
    }
}
