import Foundation
import TestSupport
import Testing

/// Every optimizer against what its official implementation computed, case by case.
@Suite struct GoldenTests {
    /// The optimizers' cases of which something can be compared on this CPU; the model's, the iteration's and the
    /// schedule's have their own tests.
    static func cases(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> [GoldenCase] {
        try GoldenCase.all(environment: environment) { name in
            !["llama_", "newton_schulz", "misc", "manifest"].contains(where: name.hasPrefix)
        }.filter { !$0.comparedParameters.isEmpty }
    }

    @Test(arguments: try cases())
    func trajectory(_ golden: GoldenCase) throws {
        for name in golden.comparedParameters {
            let plan = try golden.plan(for: name)
            let error = try golden.replayError(name, plan)
            #expect(error <= plan.tolerance, "\(name) is off by \(error) of its change")
            if ProcessInfo.processInfo.environment["COSMOS_GOLDEN_REPORT"] != nil {
                print("agreement: \(golden.name) \(name): \(error)")
            }
        }
    }

    /// So that neither a case nor a parameter drops out unseen.
    @Test func everyFixtureIsCompared() throws {
        let fixtures = try Self.cases(environment: [:])
        #expect(fixtures.count == 45)
        #expect(fixtures.reduce(0) { $0 + $1.offeredParameters.count } == 188)
    }

    @Test func aFolderWithoutCasesIsRefused() throws {
        #expect(throws: (any Error).self) { try Self.cases(environment: ["COSMOS_GOLDEN_DIR": "/nonexistent"]) }
        try withTemporaryFolder { folder in
            let environment = ["COSMOS_GOLDEN_DIR": folder.path]
            #expect(throws: GoldenError.self) { try Self.cases(environment: environment) }
            #expect(throws: GoldenError.self) { try GoldenCase.all(environment: [:]) { $0 == "no such case" } }
        }
    }

    /// Neither skipped nor compared with something else.
    @Test func anUnknownOptimizerIsAnError() throws {
        try withTemporaryFolder { folder in
            try Data(#"{"params": {"m": [2, 2]}, "tensors": []}"#.utf8).write(to: folder.appending(path: "lion.json"))
            let golden = try GoldenCase("lion", in: folder)
            #expect(golden.comparedParameters == ["m"])
            #expect(throws: GoldenError.self) { try golden.plan(for: "m") }
        }
    }
}
