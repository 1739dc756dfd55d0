import Checkpoints
import Configuration
import Console
import Foundation
import LLaMA
import Optimizers
import Ranks
import Settings
import TensorCore
import TokenData

/// The training loop.
///
/// A step computes the gradient of its batch, clips its global norm, and lets the optimizer update the weights. Between
/// steps the run can be saved and continued bit for bit; a step that is interrupted is thrown away and made anew.
/// Ranks share the gradient, the optimizer's matrices and the validations; all take the same way through this.
public final class Trainer {
    public enum Outcome: Sendable {
        case finished
        /// By the user, after this many steps; a checkpoint holds them.
        case stopped(step: Int)
    }

    public let configuration: RunConfiguration
    let setup: RunSetup
    private let ranks: Ranks
    private let cancellation: CancellationFlag
    private let checkpoints: RunCheckpoints
    private let step: TrainingStep
    private var made: RunProgress
    private var sampler: BatchSampler
    /// The step that is being made, or was made last.
    private var stepUnderWay: Int
    private var progress: TrainingProgress
    /// The time of all steps of this process.
    private var phases = StepPhases()
    private var lastRow: LogRow?

    /// Continues where `setup` stands. `cancellation` ends the run at the next opportunity.
    public init(_ setup: RunSetup, cancellation: CancellationFlag) {
        self.setup = setup
        self.cancellation = cancellation
        (configuration, ranks, sampler) = (setup.configuration, setup.ranks, setup.sampler)
        made = RunProgress(
            step: setup.start?.step ?? 0, tokens: setup.start?.tokens ?? 0, position: setup.sampler.position,
            pendingRow: setup.start?.pendingRow)
        stepUnderWay = made.step
        checkpoints = RunCheckpoints(setup)
        step = TrainingStep(setup, checkpoints, cancellation: cancellation)
        let data = setup.trainingData
        let tokensPerStep =
            Double(data.targetCount) / Double(data.windowCount) * Double(configuration.training.batchSize)
        progress = TrainingProgress(
            steps: configuration.steps, firstStep: made.step, tokensPerStep: Int(tokensPerStep.rounded()),
            validationTokens: setup.evaluator?.tokenCount ?? 0,
            validationsAfter: configuration.validationCount(after:), ranks: setup.ranks.count,
            best: setup.records?.csv.bestValidationLoss, status: setup.status)
    }

    /// Trains to the end, or until it is cancelled. Throws `RunFailure` where the numbers fail.
    public func run() throws -> Outcome {
        if made.step == configuration.steps, made.pendingRow == nil {
            let beforeDecay = configuration.schedule.decayStart(of: configuration.steps).map { "@\($0)" } ?? ""
            try setup.withRecords { records in
                try records.log.print(
                    "note: the run is already complete; a longer one goes on from it with "
                        + "`cosmos-train fork \(records.directory.path)\(beforeDecay) --set training.steps=...`")
            }
        }
        do {
            try completeRow()
            while made.step < configuration.steps {
                made.pendingRow = try trainStep()
                try completeRow()
                if try checkpoints.isDue(after: made.step) { try checkpoints.save(made) }
            }
            if checkpoints.savedStep != made.step { try checkpoints.save(made) }
            if let loss = lastRow?.validationLoss { try checkpoints.noteSoundness(of: made.step, loss) }
        } catch let error as NumericalError {
            throw try failure(error)
        } catch {
            // The user stops the run, or data can no longer be read: the state is good.
            guard error is CancellationError || (error as? UserError)?.kind == .data else { throw error }
            do {
                if checkpoints.savedStep != made.step { try checkpoints.save(made) }
            } catch let error as NumericalError {
                throw try failure(error)
            }
            try setup.withRecords { records in
                try records.record(.stop, step: made.step)
                setup.status.finish()
                if let error = error as? UserError { try records.log.record(error.description) }
                try records.log.print(
                    "stopped after step \(made.step); continue with --resume, or by `cosmos-train resume "
                        + "\(records.directory.path)`")
            }
            if error is UserError { throw error }
            return .stopped(step: made.step)
        }
        try setup.withRecords { records in
            try records.record(.finish, step: made.step)
            setup.status.finish()
            try records.log.print(try summary(records), isResult: true)
        }
        return .finished
    }

    private func failure(_ error: NumericalError) throws -> RunFailure {
        try checkpoints.fail(error, in: stepUnderWay, at: made, isWhole: step.isWhole)
    }

    /// One optimizer step. Until the optimizer has made it, nothing changes but the gradients.
    private func trainStep() throws -> LogRow {
        let started = StatusLine.now()
        progress.begin()
        let (passes, exchanged) = (setup.model.passSeconds, setup.exchange.seconds)
        stepUnderWay = made.step + 1
        var sampler = self.sampler
        let factor = configuration.schedule.factor(step: made.step, of: configuration.steps)
        let (loss, norm) = try step.make(
            stepUnderWay, of: sampler.next(configuration.training.batchSize), learningRateFactor: factor
        ) { progress.show(tokensOfStep: $0) }
        let ended = StatusLine.now()
        made.step += 1
        made.tokens += loss.count
        made.position = sampler.position
        self.sampler = sampler
        var phases = StepPhases(optimizer: step.optimizerSeconds)
        let spent = setup.model.passSeconds - passes
        (phases.forward, phases.lmHead, phases.backward) = (spent.forward, spent.lmHead, spent.backward)
        phases.data = step.dataSeconds
        if ranks.count > 1 { phases.communication = setup.exchange.seconds - exchanged }
        phases.rest = max(0, ended - started - phases.all.reduce(0) { $0 + $1.seconds })
        self.phases += phases
        let seconds = ended - started
        // Padding is computed, too.
        let flops = setup.flopsPerToken * Double(configuration.tokensPerStep) / seconds
        let mfu = setup.mfu(of: flops)
        let row = LogRow(
            step: made.step, tokens: made.tokens, trainLoss: loss.mean,
            learningRate: configuration.optimizer.hyperparameters.lr * factor, gradientNorm: norm,
            stepSeconds: seconds, tokensPerSecond: Double(loss.count) / seconds, flopsPerSecond: flops,
            mfu: mfu, phases: phases)
        progress.finishStep(row)
        return row
    }

    /// Validates if it is time, and logs the last step.
    private func completeRow() throws {
        guard var row = made.pendingRow else { return }
        let every = configuration.evaluation.every
        if let evaluator = setup.evaluator,
            made.step == configuration.steps || (every > 0 && made.step % every == 0)
        {
            progress.begin()
            let loss = try evaluator.loss(cancellation: cancellation) {
                progress.show(validated: $0, of: evaluator.tokenCount)
            }
            progress.finishValidation(loss: loss.mean)
            try setup.checkFinite(loss, "validation loss")
            row.validationLoss = loss.mean
        }
        try setup.withRecords { records in
            if let loss = row.validationLoss {
                try records.log.print(
                    String(
                        format: "step %*ld   train loss %.4f   validation loss %.4f   perplexity %.2f",
                        String(configuration.steps).count, made.step, row.trainLoss, loss, exp(loss)), isResult: true)
            }
            try records.csv.append(row)
            try records.events?.append(row)
        }
        made.pendingRow = nil
        lastRow = row
    }

    private func summary(_ records: RunRecords) throws -> String {
        var rows = [["trained", "\(made.step) steps, \(Format.count(made.tokens)) tokens"]]
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
        rows.append(["checkpoint", records.store.path(step: made.step)])
        rows.append(["log", records.directory.log])
        return aligned(rows)
    }
}
