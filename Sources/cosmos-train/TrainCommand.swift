import ArgumentParser
import Checkpoints

struct TrainCommand: RunsOnRanks {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Train a model (what happens without a subcommand).",
        discussion: """
            Trains the model that a configuration file describes; see configs/ for examples and `cosmos-train optimizers` \
            for the optimizers' settings. Everything lands in output.run_dir: the configuration with every default \
            written out (config.resolved.cfg), one row a step (log.csv), what the run said (train.log) and checkpoints \
            that Hugging Face loads as they are.

            Ctrl-C (SIGINT), SIGTERM and SIGUSR1 write a checkpoint and leave with exit code 75; --resume goes on from there, \
            or from the newest checkpoint of a run that was killed, bit for bit as if nothing had happened.

            Examples:
              cosmos-train --config configs/quickstart.cfg
              cosmos-train --config configs/quickstart.cfg --set optimizer.lr=1.0e-3 --set output.run_dir=runs/low
              cosmos-train --config configs/quickstart.cfg --resume
            """)

    @OptionGroup var given: RunOptions

    enum Resume: String, ExpressibleByArgument { case always, auto }

    @Option(
        defaultAsFlag: .always,
        help: ArgumentHelp(
            "Continue the run in output.run_dir from its newest good checkpoint; auto: begin one where there is none.",
            valueName: "auto"))
    var resume: Resume?

    @OptionGroup var back: StepOption
    @OptionGroup var reset: ResetOption

    @Flag(help: "Set a run that output.run_dir already holds aside (as <run_dir>.old-1) and begin anew.")
    var replace = false

    func validate() throws {
        if resume != nil, replace {
            throw ValidationError("--resume continues a run, --replace begins anew: give one of them")
        }
        if back.step != nil, resume == nil { throw ValidationError("--step goes with --resume") }
        if reset.resetOptimizer, resume == nil {
            throw ValidationError("--reset-optimizer goes with --resume")
        }
    }

    func run() throws {
        let ranks = try RankSession.join()
        let configuration = try ranks.together { try given.configuration() }
        let isRun = try ranks.fromFirst([RunFolder.holdsRun(configuration.output.runDirectory) ? 1 : 0]) == [1]
        let resumes = resume == .always || (resume == .auto && isRun)
        try train(
            configuration, on: ranks, purpose: resumes ? .resume : replace ? .replace : .new,
            resetOptimizer: reset.resetOptimizer, step: back.step)
    }
}
