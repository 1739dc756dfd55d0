import Optimizers
import TestSupport
import Testing

/// `cosmos-train optimizers` as a user runs it.
@Suite struct OptimizersCommandTests {
    @Test func listsEveryOptimizerOnALineThatLinesUp() throws {
        let result = try run(program, ["optimizers"])
        #expect(result.status == 0)
        let lines = result.output.split(separator: "\n")
        for rule in optimizers {
            let line = try #require(lines.first { $0.hasPrefix(rule.name + " ") }, "\(rule.name)")
            #expect(line.contains(rule.stateFormula) && line.hasSuffix(rule.summary))
        }
    }

    @Test(arguments: optimizers.map { $0.name })
    func describesOneWithSettingsStateAndCitation(_ name: String) throws {
        let rule = try #require(optimizers.first { $0.name == name })
        let result = try run(program, ["optimizers", name])
        #expect(result.status == 0)
        for part in [rule.summary, rule.citation, rule.stateFormula, "lr ", "weight_decay ", "adam"] {
            #expect(result.output.contains(part), "\(part)")
        }
    }

    @Test func unknownOptimizerGetsTheNearest() throws {
        let result = try run(program, ["optimizers", "cosmo"])
        #expect(result.status == 64)
        #expect(result.errorOutput.contains("error: there is no optimizer cosmo"))
        #expect(result.errorOutput.contains("hint: did you mean `cosmos`?"))
    }
}
