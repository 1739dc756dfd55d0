import Configuration
import LLaMA
import Optimizers

/// A section of a configuration file: how its part of `RunConfiguration` is read, written and explained.
struct RunSection: Sendable {
    let name: String
    let decode: @Sendable (ConfigurationNode, inout RunConfiguration) throws -> Void
    let values: @Sendable (RunConfiguration) -> [(key: String, value: String)]
    let yaml: @Sendable (RunConfiguration) -> String
    /// The table of its keys; nil where they depend on a setting.
    let documentation: (@Sendable () -> String)?
}

extension RunSection {
    init<Section: ConfigurationSection>(
        _ name: String, _ path: WritableKeyPath<RunConfiguration, Section> & Sendable
    ) {
        self.init(
            name: name, decode: { $1[keyPath: path] = try Configuration.decode(from: $0, at: name) },
            values: { $0[keyPath: path].values }, yaml: { $0[keyPath: path].yaml(indent: 2) },
            documentation: { Section.documentation })
    }

    /// Its keys are those of the optimizer of that name.
    static let optimizer = RunSection(
        name: "optimizer",
        decode: { node, run in
            run.optimizer = try OptimizerConfiguration(
                node, at: "optimizer", forBFloat16Training: run.training.precision == .bf16)
        },
        values: { [("name", $0.optimizer.name)] + $0.optimizer.hyperparameters.values },
        yaml: { $0.optimizer.yaml(indent: 2) }, documentation: nil)
}

extension RunConfiguration {
    /// Every section, in the order in which they are written.
    static let table: [RunSection] = [
        RunSection("model", \.model), RunSection("data", \.data), .optimizer, RunSection("schedule", \.schedule),
        RunSection("training", \.training), RunSection("evaluation", \.evaluation), RunSection("output", \.output),
    ]

    /// The tables of all sections but `optimizer`, whose keys depend on its name.
    public static var documentation: [(section: String, table: String)] {
        table.compactMap { section in section.documentation.map { (section.name, $0()) } }
    }
}
