import Foundation
import TestSupport
import Testing

/// Every optimizer against what its official implementation computed, case by case.
@Suite struct GoldenTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let folder: GoldenFolder
        let name: String
        var testDescription: String { name }
    }

    /// The optimizer trajectories of all folders; the model's and the iteration's cases have their own tests.
    static var cases: [Case] {
        GoldenFolder.all().flatMap { folder in
            let names = try? folder.names { name in
                !["llama_", "newton_schulz", "misc", "manifest"].contains(where: name.hasPrefix)
            }
            return (names ?? []).map { Case(folder: folder, name: $0) }
        }
    }

    @Test(arguments: cases)
    func trajectory(_ test: Case) throws {
        let golden = try test.folder.load(test.name)
        let names = golden.fields.params.keys
        try #require(!names.isEmpty, "the case has no parameters")
        var skipped: [String: [String]] = [:]
        for name in names {
            switch try golden.plan(for: name) {
            case .skip(let reason):
                skipped[reason, default: []].append(name)
            case .replay(let configuration, let role, let rateScale, let tolerance):
                let error = try golden.replayError(name, configuration, role, rateScale: rateScale)
                #expect(error <= tolerance, "\(name) is off by \(error) of its change")
                if ProcessInfo.processInfo.environment["COSMOS_GOLDEN_REPORT"] != nil {
                    print("agreement: \(test.name) \(name): \(error)")
                }
            }
        }
        for (reason, names) in skipped.sorted(by: { $0.key < $1.key }) {
            print("skipped: \(test.name) (\(names.joined(separator: ", "))): \(reason)")
        }
    }
}
