import ArgumentParser
import Configuration
import Optimizers

struct OptimizersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "optimizers", abstract: "List the optimizers, or describe one.",
        discussion: """
            State is given in scalars (4 bytes each) for an m x n weight (n inputs, m outputs) and rank r.

            Examples:
              cosmos-train optimizers
              cosmos-train optimizers cosmos
            """)

    @Argument(help: "The optimizer to describe.")
    var name: String?

    func run() throws {
        guard let name else {
            try printResult(
                aligned([["name", "state", "idea"]] + optimizerRules.map { [$0.name, $0.stateFormula, $0.summary] }))
            try printResult("\n`cosmos-train optimizers NAME` shows one with its settings.")
            return
        }
        guard let rule = optimizerRules.first(where: { $0.name == name }) else {
            throw unknownOptimizer(name)
        }
        try printResult(description(of: rule))
    }

    private func description<Rule: OptimizerRule>(of rule: Rule.Type) -> String {
        """
        \(rule.summary)

        \(rule.citation)

        state of an m x n matrix, in scalars: \(rule.stateFormula)

        settings of the section `optimizer:`, beside `name: \(rule.name)`, with their defaults:

        \(Rule.Hyperparameters.documentation)
        """
    }
}
