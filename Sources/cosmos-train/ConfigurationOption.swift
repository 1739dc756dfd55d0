import ArgumentParser
import Settings

/// The configuration file, with `--config` or without, as the commands have it that work on a run to be made.
struct ConfigurationOption: ParsableArguments {
    // Lists, so that a second file is seen rather than taking the place of the first.
    @Argument(help: ArgumentHelp("The configuration file.", valueName: "file"))
    var files: [String] = []

    @Option(name: .shortAndLong, help: ArgumentHelp("The same.", valueName: "file"))
    var config: [String] = []

    /// The file's path.
    var file: String { (files + config)[0] }

    func validate() throws {
        let all = files + config
        if all.isEmpty { throw ValidationError("no configuration file is given, such as configs/quickstart.cfg") }
        if all.count > 1 {
            throw ValidationError("\(all.count) configuration files are given: \(all.joined(separator: ", "))")
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
