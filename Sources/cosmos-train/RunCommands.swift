import ArgumentParser
import Checkpoints
import Console
import Files
import Foundation
import Ranks
import Settings
import Training

/// Trains a run that its folder describes, and ends as every command that trains.
func train(
    _ configuration: RunConfiguration, on ranks: Ranks, purpose: RunDirectory.Purpose, resetOptimizer: Bool,
    step: Int? = nil
) throws {
    Interruption.stopInGoodOrder(amongRanks: ranks.count > 1, isQuiet: !ranks.isFirst)
    Interruption.stopWithParent()
    let status = ranks.isFirst ? StatusLine() : StatusLine(descriptor: open("/dev/null", O_WRONLY | O_CLOEXEC))
    do {
        let setup = try RunSetup(
            configuration, purpose: purpose, resetOptimizer: resetOptimizer, step: step,
            commit: sourceCommit, ranks: ranks, status: status, cancellation: Interruption.flag)
        if case .stopped = try Trainer(setup, cancellation: Interruption.flag).run() { throw ExitCode(75) }
    } catch is CancellationError {
        if ranks.isFirst { printToStandardError("stopped before the first step") }
        throw ExitCode(75)
    }
}

/// The settings in the folder of a run, or else in its checkpoint, changed by assignments; `folder` is where the run is
/// to be.
private func settings(
    of run: String, in folder: String, _ assignments: [String], checkpoint: () throws -> String?
) throws -> RunConfiguration {
    try RunConfiguration(
        run: run, checkpoint: checkpoint,
        assignments: assignments.contains { $0.hasPrefix("output.run_dir=") }
            ? assignments : assignments + ["output.run_dir=\(folder)"],
        warn: { printToStandardError("warning: \($0)") })
}

struct ResumeCommand: RunsOnRanks {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Continue a run.",
        discussion: """
            The settings are those of the run's config.resolved.cfg, where paths hold in the folder in which the run was \
            started. The same as `cosmos-train --config FILE --resume` with what the run was started with.

            Example:
              cosmos-train resume runs/quickstart
            """)

    @Argument(help: ArgumentHelp("The run's folder.", valueName: "run"))
    var folder: String

    @OptionGroup var changes: AssignmentOptions

    @OptionGroup var back: StepOption
    @OptionGroup var reset: ResetOption

    func run() throws {
        let ranks = try RankSession.join()
        let configuration = try ranks.sharing {
            try RunDirectory.check(folder, for: .resume)
            return try settings(of: folder, in: folder, changes.assignments) {
                let store = CheckpointStore(run: folder)
                return try back.step.map(store.path(step:))
                    ?? store.newestGood({ $0 == Checkpoint.settingsName }, warn: { _ in })?.path
            }
        }
        try train(
            configuration, on: ranks, purpose: .resume, resetOptimizer: reset.resetOptimizer, step: back.step)
    }
}

struct ForkCommand: RunsOnRanks {
    static let configuration = CommandConfiguration(
        commandName: "fork", abstract: "Begin a new run with the state of another one.",
        discussion: """
            The new run begins with weights, optimizer state and place in the data of a checkpoint, and with its \
            settings, changed by --set: more steps, another learning rate, another batch. Its history.json tells what \
            changed; a run of several settings gets no rank from `compare`. With a constant schedule, or `wsd` before its \
            decay, more steps change nothing that was, and the run ranks as one that was longer from the start.

            Examples:
              cosmos-train fork runs/a --set training.steps=20000
              cosmos-train fork runs/a@9000 --set optimizer.lr=1.0e-4 --set output.run_dir=runs/a-low
            """)

    @Argument(
        help: ArgumentHelp(
            "The run's folder, and after an @ the step of a checkpoint; else the newest is taken.",
            valueName: "run[@step]"))
    var origin: String

    @OptionGroup var changes: AssignmentOptions

    @OptionGroup var reset: ResetOption

    func run() throws {
        let ranks = try RankSession.join()
        let configuration = try ranks.sharing(make)
        let folder = configuration.output.runDirectory
        do {
            try train(configuration, on: ranks, purpose: .resume, resetOptimizer: reset.resetOptimizer)
        } catch let error as UserError {
            if ranks.isFirst, try RunHistory(in: folder)?.unbegunForkOf != nil { try AtomicFile.remove(folder) }
            throw error
        }
    }

    /// Makes the new run's folder, with the checkpoint that it begins with; its settings.
    private func make() throws -> RunConfiguration {
        var (run, step) = (origin, Int?.none)
        if let match = origin.wholeMatch(of: /(.+)@([0-9]+)/) { (run, step) = (String(match.1), Int(match.2) ?? .max) }
        run = run.withoutTrailingSlashes
        try RunDirectory.check(run, for: .resume)
        let fork = try RunFork(of: run, step: step)
        var configuration = try settings(of: run, in: unusedPath(run + "-fork-"), changes.assignments) {
            fork.checkpoint.path
        }
        // Steps that were made had the old run's warm-up: a share of another number of steps would be another one.
        let old = try RunConfiguration(run: run, checkpoint: { fork.checkpoint.path }, assignments: [], warn: { _ in })
        let warmup = old.schedule.warmup.steps(of: old.steps)
        if configuration.schedule.warmup == old.schedule.warmup, warmup <= fork.step {
            configuration.schedule.warmup = .steps(warmup)
        }
        guard fork.step < configuration.steps else {
            throw UserError(
                .usage, "the checkpoint of step \(fork.step) is the last of a run of \(configuration.steps) steps",
                hint: "give it more by --set training.steps=..., or begin with an earlier one: \(run)@STEP")
        }
        try fork.make(configuration.output.runDirectory, configuration, origin: "\(run)@\(fork.step)")
        return configuration
    }
}
