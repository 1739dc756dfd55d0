import Comparison
import Foundation
import TestSupport
import Testing

/// The committed study: the tables in its text say what its `summary.csv` says.
@Suite struct StudyTests {
    private typealias Row = [String: String]

    private static let summary: [Row] = {
        let path = repositoryRoot.appending(path: "docs/results/study/summary.csv")
        let rows = csvRows((try? String(contentsOf: path, encoding: .utf8)) ?? "")
        return rows.dropFirst().map { Dictionary(zip(rows[0], $0)) { first, _ in first } }
    }()
    private static let text =
        (try? String(contentsOf: repositoryRoot.appending(path: "docs/results/study.md"), encoding: .utf8)) ?? ""

    /// Finished runs that differ in seeds alone.
    private static let settings: [[Row]] = Array(
        Dictionary(grouping: summary.filter { $0["state"] == "finished" }) { row in
            [row["part"], row["optimizer"]] + row.keys.filter { $0.contains(".") }.sorted().map { row[$0] }
        }.values)

    /// The cells of the lines between `<!-- table NAME -->` and `<!-- end -->`.
    private static func cells(ofTable name: String) -> [[String]] {
        guard let start = text.range(of: "<!-- table \(name) -->"),
            let end = text[start.upperBound...].range(of: "<!-- end -->")
        else { return [] }
        return text[start.upperBound..<end.lowerBound].split(separator: "\n").filter { $0.hasPrefix("| ") }.map {
            line in
            line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { $0.trimmingCharacters(in: .whitespaces) }
        }
    }

    /// Mean, standard deviation and number of the final losses of a setting, as tables print them.
    private static func losses(_ rows: [Row]) -> [String] {
        let losses = Sample(rows.compactMap { $0["validation_loss"].flatMap(Double.init) })
        return [losses.mean, losses.standardDeviation].map { $0.map { String(format: "%.4f", $0) } ?? "-" }
            + ["\(losses.count)"]
    }

    /// Whether a run is what the label of a row or a column says: "muon", "long", "rank 8", "update 0.001".
    private static func fits(_ run: Row, _ label: String) -> Bool {
        let words = label.split(separator: " ").map(String.init)
        guard words.count == 2 else {
            return run["optimizer"] == label
                || (run["part"] ?? "").replacing("-equal", with: "").split(separator: "/").last.map(String.init)
                    == label
        }
        switch words[0] {
        case "update":
            let rate = run["optimizer.lr"].flatMap(Double.init) ?? 0
            return String(format: "%g", rate * (run["optimizer"] == "muon" ? 0.2 : 1)) == words[1]
        case "sequence_length": return [words[1], words[1] == "256" ? "" : nil].contains(run["data.sequence_length"])
        default: return run["optimizer.\(words[0])"] == words[1]
        }
    }

    @Test(arguments: text.matches(of: /<!-- table (\S+) -->/).map { String($0.1) }.filter { !$0.hasPrefix("times") })
    func tablesSayWhatTheSummarySays(_ name: String) {
        let table = Self.cells(ofTable: name)
        let ranked = table.filter { Int($0[0]) != nil }
        #expect(ranked.count > 1 || ranked.isEmpty && table.count > 2, "the table \(name) is empty")
        let contestants = name.replacing("-equal", with: "").replacing("rates-", with: "")
        let isOfOnePart = ["short", "long", "wide", "wide-short"].contains(contestants)
        let settings = Self.settings.filter { setting in
            !isOfOnePart || setting[0]["part"]?.replacing("-equal", with: "") == contestants
        }
        for row in ranked {
            // "muon scale=original": the optimizer, and by what it is told apart.
            let words = row[1].split(separator: " ").map(String.init)
            let candidates = settings.filter { setting in
                guard setting[0]["optimizer"] == words[0], setting[0]["optimizer.lr"] == row[2] else { return false }
                return words.dropFirst().allSatisfy { word in
                    let parts = word.split(separator: "=").map(String.init)
                    // What a part of the study left at its default stands in no column of it.
                    return ["", parts[1]].contains(setting[0]["optimizer.\(parts[0])"] ?? "")
                }
            }
            #expect(candidates.contains { Self.losses($0) == Array(row[3...5]) }, "\(name): \(row)")
        }
        // A crossing of two settings, its columns named as its rows are.
        guard ranked.isEmpty else { return }
        for row in table.dropFirst(2) {
            for (column, cell) in zip(table[0], row).dropFirst() where !["", "diverged"].contains(cell) {
                let candidates = settings.filter { Self.fits($0[0], row[0]) && Self.fits($0[0], column) }
                let texts = candidates.map(Self.losses).map { $0[2] == "1" ? $0[0] : "\($0[0]) ± \($0[1])" }
                #expect(texts.contains(cell), "\(name): \(row[0]), \(column)")
            }
        }
    }

    @Test func theTextCountsTheRuns() throws {
        let count = try #require(Self.text.firstMatch(of: /\*\*(\d+) finished runs\*\*/)).1
        #expect(Int(count) == Self.summary.count { $0["state"] == "finished" })
    }
}
