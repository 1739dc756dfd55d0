import Comparison
import Console
import Files
import Foundation
import FoundationXML
import Machine
import TestSupport
import Testing

@Suite struct ReportTests {
    @Test func csvHasALineForEachSettingInFullPrecision() throws {
        try withRuns(runs("adamw", [3.5, 3.625]) + runs("muon", lr: 2e-3, [3.4, 3.5])) { runs, _ in
            let lines = try Comparison(runs).csv.split(separator: "\n").map {
                $0.split(separator: ",", omittingEmptySubsequences: false)
            }
            #expect(lines.count == 3)
            #expect(lines.allSatisfy { $0.count == lines[0].count })
            let adamw = Dictionary(uniqueKeysWithValues: zip(lines[0], lines[1]))
            #expect(adamw["validation_loss_mean"] == "3.5625")
            #expect(adamw["rank"] == "2")
            #expect(Double(adamw["perplexity"] ?? "") == exp(3.5625))
            #expect(Double(adamw["holm_p_against_first"] ?? "") != nil)
        }
    }

    @Test func markdownHasTables() throws {
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.4])) { runs, _ in
            let text = try Comparison(runs).markdown
            #expect(text.contains("| optimizer | best lr | loss |"))
            #expect(text.contains("| 1 | muon | 0.001 | 3.4000 |"))
        }
    }

    @Test func latexHasTablesOfBooktabs() throws {
        let all = runs("adamw", [3.5, 3.6]) + runs("adam_mini", [3.4, 3.5])
        try withRuns(all) { runs, _ in
            let text = try Comparison(runs).latex
            #expect(text.contains("\n\\begin{tabular}{rlrrrrrrrr}\n\\toprule\n & optimizer & best lr & loss & "))
            #expect(text.contains("\n1 & adam\\_mini & 0.001 & 3.4500 & "))
            #expect(text.contains("\n  \\item adam\\_mini was run at one learning rate only"))
            #expect(text.components(separatedBy: "\\begin{").count == text.components(separatedBy: "\\end{").count)
        }
    }

    @Test func reportIsOneWellFormedPageWithThePlots() throws {
        let all =
            runs("adamw", lr: 1e-3, [3.5, 3.6]) + runs("adamw", lr: 2e-3, [3.4, 3.5]) + runs("muon", [3.4, 3.3])
        try withRuns(all) { runs, folder in
            let comparison = try Comparison(runs)
            #expect(
                comparison.plots.map(\.name) == ["loss-tokens", "train-tokens", "loss-time", "loss-lr", "memory-loss"])
            for plot in comparison.plots {
                #expect(!plot.svg.contains("nan"))
                #expect(XMLParser(data: Data(plot.svg.utf8)).parse(), "\(plot.name) is not well formed")
            }
            // The spread of the seeds, and a value for the pointer.
            let losses = comparison.plots[0].svg
            #expect(losses.components(separatedBy: " band\"").count == 3)
            #expect(losses.contains(">muon 3.3500 at 25.6</text>"), "\(losses)")
            let page = comparison.report(title: "a < b", provenance: Provenance(commit: "abc", threads: 1))
            #expect(page.contains("<title>a &lt; b</title>"))
            #expect(page.components(separatedBy: "<svg").count == 6)
            // Caveats are a list beside the ranking.
            #expect(page.contains("<ul class=\"remark\">\n<li>muon was run at one learning rate only"))
            #expect(!page.contains("http-equiv"))
            let live = comparison.report(title: "a", provenance: Provenance(commit: "abc", threads: 1), isLive: true)
            #expect(live.contains("<meta http-equiv=\"refresh\""))
            #expect(!page.contains("src="))
            #expect(!page.contains("href="))
            #expect(page.contains("<th class=\"words\">setting</th><th>muon</th><th>adamw</th>"))
            for row in ["optimizer.lr</td><td>0.001</td><td>0.002<", "optimizer.betas</td><td>-</td><td>["] {
                #expect(page.contains(row), "\(page) lacks \(row)")
            }
        }
    }

}
