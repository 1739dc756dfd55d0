import ArgumentParser
import Training

/// `--config`, as the commands have it that work on a run to be made.
struct ConfigurationOption: ParsableArguments {
    // A list, so that a second one is seen rather than taking the place of the first.
    @Option(name: .shortAndLong, help: ArgumentHelp("The configuration file.", valueName: "file"))
    var config: [String]

    /// The file's path.
    var file: String { config[0] }

    func validate() throws {
        if config.count > 1 {
            throw ValidationError("--config is given \(config.count) times: \(config.joined(separator: ", "))")
        }
    }
}

/// `--set`.
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
