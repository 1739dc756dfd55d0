import Comparison
import Foundation
import TestSupport
import Testing

/// The committed study: the tables in its text say what its `summary.csv` says.
@Suite struct StudyTests {
    private static let summary: [[String: String]] = {
        let path = repositoryRoot.appending(path: "docs/results/study/summary.csv")
        let rows = csvRows((try? String(contentsOf: path, encoding: .utf8)) ?? "")
        return rows.dropFirst().map { Dictionary(zip(rows[0], $0)) { first, _ in first } }
    }()
    private static let text =
        (try? String(contentsOf: repositoryRoot.appending(path: "docs/results/study.md"), encoding: .utf8)) ?? ""

    /// The rows of the table between `<!-- table NAME -->` and `<!-- end -->` that begin with a rank.
    private static func rankedRows(_ name: String) -> [[String]] {
        guard let start = text.range(of: "<!-- table \(name) -->"),
            let end = text[start.upperBound...].range(of: "<!-- end -->")
        else { return [] }
        return text[start.upperBound..<end.lowerBound].split(separator: "\n").map { line in
            line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        }.filter { Int($0.first ?? "") != nil }
    }

    /// Mean, standard deviation and number of the final losses of a setting, as tables print them.
    private static func cells(_ rows: [[String: String]]) -> [String] {
        let losses = Sample(rows.compactMap { $0["validation_loss"].flatMap(Double.init) })
        return [losses.mean, losses.standardDeviation].map { $0.map { String(format: "%.4f", $0) } ?? "-" }
            + ["\(losses.count)"]
    }

    @Test(arguments: text.matches(of: /<!-- table (\S+) -->/).map { String($0.1) }.filter { $0 != "times" })
    func tablesSayWhatTheSummarySays(_ name: String) {
        let finished = Self.summary.filter { $0["state"] == "finished" }
        let settings = Dictionary(grouping: finished) { row in
            [row["part"], row["optimizer"]] + row.keys.filter { $0.contains(".") }.sorted().map { row[$0] }
        }.values
        let rows = Self.rankedRows(name)
        #expect(rows.count > 1, "the table \(name) is empty")
        for row in rows {
            // "muon scale=original": the optimizer, and by what it is told apart.
            let words = row[1].split(separator: " ").map(String.init)
            let candidates = settings.filter { setting in
                guard setting[0]["optimizer"] == words[0], setting[0]["optimizer.lr"] == row[2] else { return false }
                return words.dropFirst().allSatisfy { word in
                    let parts = word.split(separator: "=").map(String.init)
                    // What a part of the study left at its default stands in no column of it.
                    return ["", parts[1]].contains(setting[0]["optimizer.\(parts[0])"] ?? "")
                } && (!["short", "long"].contains(name) || setting[0]["part"] == name)
            }
            #expect(candidates.contains { Self.cells($0) == Array(row[3...5]) }, "\(name): \(row)")
        }
    }

    @Test func theTextCountsTheRuns() throws {
        let count = try #require(Self.text.firstMatch(of: /\*\*(\d+) finished runs\*\*/)).1
        #expect(Int(count) == Self.summary.count { $0["state"] == "finished" })
    }
}
