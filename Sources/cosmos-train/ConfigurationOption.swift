import ArgumentParser
import Settings
import TensorCore

/// The configuration file, with `--config` or without, as the commands have it that work on a run to be made.
struct ConfigurationOption: ParsableArguments {
    // Lists, so that a second file is seen rather than taking the place of the first.
    @Argument(help: ArgumentHelp("The configuration file.", valueName: "file"))
    var files: [String] = []

    @Option(name: .shortAndLong, help: ArgumentHelp("The same.", valueName: "file"))
    var config: [String] = []

    var file: String { (files + config)[0] }

    func validate() throws {
        let all = files + config
        if all.isEmpty { throw ValidationError("no configuration file is given, such as configs/quickstart.cfg") }
        if all.count > 1 {
            throw ValidationError("\(all.count) configuration files are given: \(all.joined(separator: ", "))")
        }
    }
}

struct AssignmentOptions: ParsableArguments {
    @Option(
        name: .customLong("set"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "Replace one setting; the value is YAML. May be given many times.",
            valueName: "section.key=value"))
    var assignments: [String] = []
}

/// A configuration file with changes on top.
struct RunOptions: ParsableArguments {
    @OptionGroup var given: ConfigurationOption
    @OptionGroup var changes: AssignmentOptions

    func configuration() throws -> RunConfiguration {
        try RunConfiguration(file: given.file, assignments: changes.assignments)
    }
}

/// A trained model, as the commands have it that use one.
struct ModelArgument: ParsableArguments {
    @Argument(help: "The folder of a run (its newest checkpoint), of a checkpoint, or of a Hugging Face model.")
    var model: String
}

struct ThreadsOption: ParsableArguments {
    @Option(parsing: .unconditional, help: "Threads; 0: all cores.")
    var threads = 0

    func validate() throws { try check("--threads", threads, 0...1024) }

    func makePool() -> WorkerPool { WorkerPool(threads: threads) }
}

struct StepOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "When continuing a run: go back to the checkpoint of this step; what is later is set aside.",
            valueName: "n"))
    var step: Int?
}

struct ResetOption: ParsableArguments {
    @Flag(
        help:
            "When continuing a run: keep the weights and the place in the data, start the optimizer's state from zero."
    )
    var resetOptimizer = false
}

/// Refuses a number that is given and not in the range.
func check(_ option: String, _ value: Int?, _ range: ClosedRange<Int>) throws {
    if let value, !range.contains(value) {
        throw ValidationError("\(option) \(value): must be from \(range.lowerBound) to \(range.upperBound)")
    }
}
