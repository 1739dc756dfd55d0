import ArgumentParser

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
