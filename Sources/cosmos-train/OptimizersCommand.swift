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
                aligned([["name", "state", "idea"]] + optimizers.map { [$0.name, $0.stateFormula, $0.summary] }))
            try printResult("\n`cosmos-train optimizers NAME` shows one with its settings.")
            return
        }
        let optimizer = try optimizer(named: name)
        try printResult(
            """
            \(optimizer.summary)

            \(optimizer.citation)

            state of an m x n matrix, in scalars: \(optimizer.stateFormula)

            settings of the section `optimizer:`, beside `name: \(optimizer.name)`, with their defaults:

            \(optimizer.documentation)
            """)
    }
}
