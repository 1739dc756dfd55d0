import Foundation
import TestSupport
import Testing

/// The examples of docs/adding-an-optimizer.md.
@Suite struct ExampleTests {
    private static func text(_ file: String) throws -> String {
        try String(
            contentsOf: URL(filePath: #filePath).deletingLastPathComponent().appending(path: file), encoding: .utf8)
    }

    @Test(arguments: ["Lion.swift", "LionTests.swift"])
    func isQuotedByTheDocument(_ file: String) throws {
        let document = try String(
            contentsOf: repositoryRoot.appending(path: "docs/adding-an-optimizer.md"), encoding: .utf8)
        #expect(try document.contains("```swift\n\(Self.text(file))```\n"), "\(file) is not what the document quotes")
    }

    /// A new optimizer is its mathematics, its settings and a test: lines without comments and blanks.
    @Test(arguments: [
        ("Lion.swift", 45), ("LionTests.swift", 25), ("NorMuon.swift", 65), ("NorMuonTests.swift", 25),
    ])
    func isShort(_ file: String, _ limit: Int) throws {
        let lines = try Self.text(file).split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        #expect(lines.count { !$0.isEmpty && !$0.hasPrefix("//") } <= limit)
    }
}
