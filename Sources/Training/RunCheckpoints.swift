import Checkpoints
import Console
import Foundation
import Ranks
import TensorCore

/// When checkpoints of a run are made, which are kept, and what becomes of them where the numbers fail. All ranks
/// decide the same: by steps and losses, which they share, or by the first one's clock.
final class RunCheckpoints {
    /// The step of the newest checkpoint.
    private(set) var savedStep: Int?
    /// The newest checkpoint whose weights were seen to be sound, by the loss of what came next.
    private var soundStep: Int?
    private var savedAt = StatusLine.now()
    private let setup: RunSetup

    init(_ setup: RunSetup) {
        self.setup = setup
        savedStep = setup.start?.step
    }

    /// From the checkpoint of this step the run can be made longer.
    private var decayStart: Int? { setup.configuration.schedule.decayStart(of: setup.configuration.steps) }

    func isDue(after step: Int) throws -> Bool {
        let output = setup.configuration.output
        if step == decayStart || (output.checkpointEvery > 0 && step % output.checkpointEvery == 0) { return true }
        guard output.checkpointMinutes > 0 else { return false }
        let isLate = StatusLine.now() - savedAt >= 60 * output.checkpointMinutes
        return try setup.ranks.fromFirst([isLate ? 1 : 0]) == [1]
    }

    /// Writes a checkpoint of the last complete step.
    func save(_ progress: RunProgress) throws {
        try checkNumbers()
        try write(progress) { records, contents in
            try records.csv.synchronize()
            try records.store.save(contents, status: setup.status)
        }
        savedStep = progress.step
        savedAt = StatusLine.now()
        try removeOld(upTo: progress.step)
    }

    private func write(_ progress: RunProgress, _ body: (RunRecords, Checkpoint.Contents) throws -> Void) throws {
        try setup.state.withFirst {
            if let records = setup.records { try body(records, try records.checkpointContents(progress, setup)) }
        }
    }

    /// Throws where weights or state are not finite: nothing could go on from them.
    private func checkNumbers() throws {
        try setup.ranks.together {
            let tensors = setup.model.parameters.map { ($0.name, $0.weight) }
            let states = setup.optimizer.state.map { ($0.name, $0.tensor) }
            if let error = firstNonFinite(tensors + states, on: setup.pool) { throw error }
        }
    }

    /// Deletes the checkpoints that are too many. Those after the newest that is known to be sound may hold weights that
    /// have exploded, so that one always stays; where none is known to be, all that were there at the start.
    private func removeOld(upTo step: Int) throws {
        try setup.withRecords { records in
            try records.store.removeOld(upTo: step, keep: setup.configuration.output.keepCheckpoints) { old in
                old == decayStart || (soundStep.map { old == $0 } ?? (old <= setup.start?.step ?? -1))
            }
        }
    }

    /// Notes whether the checkpoint of `step`, if there is one, is sound, as far as `loss` tells, which its weights
    /// have.
    func noteSoundness(of step: Int, _ loss: Double) throws {
        // 1.5 times the loss of a model that knows nothing.
        guard savedStep == step, soundStep != step, loss < 1.5 * log(Double(setup.configuration.model.vocabSize)) else {
            return
        }
        soundStep = step
        try removeOld(upTo: step)
    }

    /// What remains where the numbers failed. No checkpoint is removed. The state before the failure is set aside,
    /// unless the optimizer was at work on it (`isWhole`) or it is itself what is bad, and so are the checkpoints after
    /// the newest that is known to be sound. Where there is none at all, the state that the run began with becomes one.
    /// `failed`: the step that is to blame.
    func fail(
        _ error: NumericalError, in failed: Int, at progress: RunProgress, isWhole: Bool
    ) throws -> RunFailure {
        let step = progress.step
        var isAside = false
        if isWhole, savedStep != step {
            do {
                try checkNumbers()
                try write(progress) { try $0.store.saveAside($1, status: setup.status) }
                isAside = true
            } catch is NumericalError {
            } catch let error as UserError {
                try setup.withRecords {
                    try $0.log.print("warning: the state before the failure is lost: \(error.message)")
                }
            }
        }
        if savedStep == nil {
            try setup.startAnew()
            try write(RunProgress()) { _ = try $0.store.save($1, status: setup.status) }
            savedStep = 0
        } else if let sound = soundStep ?? setup.start?.step {
            try setup.withRecords { try $0.store.goBack(to: sound) }
            isAside = isAside || (isWhole && savedStep == step && sound < step)
            savedStep = sound
        }
        let store = setup.records?.store
        let failure = RunFailure(
            step: failed, error: error, checkpoint: savedStep.flatMap { store?.path(step: $0) },
            aside: isAside ? store?.asidePath(step: step) : nil)
        try setup.withRecords { records in
            setup.status.finish()
            try records.log.record(failure.description)
            try records.record(.failure, step: step)
        }
        return failure
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
