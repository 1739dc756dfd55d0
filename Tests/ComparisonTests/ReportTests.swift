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
            #expect(text.contains(" & $-$0.1000 & "), "\(text)")
        }
    }

    @Test(.enabled(if: access("/usr/bin/pdflatex", X_OK) == 0, "there is no pdflatex"))
    func latexFitsAColumn() throws {
        try withRuns(runs("adamw", [3.5, 3.6]) + runs("adam_mini", [3.4, 3.5])) { runs, folder in
            let document = """
                \\documentclass[twocolumn]{article}\\usepackage{booktabs,graphicx}\\begin{document}\\input{table}\\end{document}
                """
            for (name, text) in [("table", try Comparison(runs).latex), ("document", document)] {
                try Data(text.utf8).write(to: folder.appending(path: name + ".tex"))
            }
            let command = try run("pdflatex", ["-halt-on-error", "-interaction=batchmode", "document"], in: folder)
            let log = try String(contentsOf: folder.appending(path: "document.log"), encoding: .utf8)
            #expect(command.status == 0 && !log.contains("Overfull"), "\(log)")
        }
    }

    /// A name is a name, though a scalar before or after makes one character of it and a `<`, a comma or a backslash.
    @Test func namesCommandNoFormat() throws {
        let prefix = "\u{600}"
        let name =
            "\(prefix)<img src=x \(prefix)> \(prefix)\\input x%\u{301}|\(prefix)|\n1 a\u{1b}[2J\(prefix)&\u{301}\"\u{301}"
        func has(_ text: String, _ part: String) -> Bool { Array(text.utf8).firstRange(of: Array(part.utf8)) != nil }
        try withTemporaryFolder { folder in
            for run in runs("adamw", [3.5], change: { $0.rows = 50 }) + runs("muon", [3.4]) {
                try run.write(in: folder)
            }
            try FileManager.default.moveItem(
                at: folder.appending(path: "adamw-0.001-1"), to: folder.appending(path: name))
            let comparison = try Comparison(findRuns([folder.path]), force: true)
            let page = comparison.report(title: name, provenance: Provenance(commit: "abc", threads: 1))
            #expect(has(page, "&lt;img src=x") && !has(page, "<img") && has(page, "\\x1b[2J") && !has(page, "\u{1b}"))
            let latex = comparison.latex
            #expect(has(latex, "\\textbackslash{}input x\\%") && !has(latex, "\\input"))
            for text in [comparison.text, comparison.markdown, latex] {
                #expect(!has(text, "\n1 a") && has(text, " 1 a") && !has(text, "\u{1b}"), "\(text)")
            }
            let lines = comparison.markdown.utf8.split(separator: UInt8(ascii: "\n")).map { Array($0) }
            func cells(_ isRow: ([UInt8]) -> Bool) throws -> Int {
                let line = try #require(lines.first { $0.starts(with: "| ".utf8) && isRow($0) })
                return zip(line, line.dropFirst()).count { $0 != UInt8(ascii: "\\") && $1 == UInt8(ascii: "|") }
            }
            #expect(try cells { $0.contains(UInt8(ascii: "%")) } == cells { $0.starts(with: "| run".utf8) })
            #expect(!has(comparison.markdown, "\(prefix)<"))

            // A sweep's summary quotes what would break a line, and reads it again.
            let fields = ["\(prefix),", "a,\u{301}b", "\"\u{301}", "c\r\nd", "e"]
            let line = fields.map(\.csvField).joined(separator: ",")
            #expect(csvRows("\(line)\r\n\(line)\n") == [fields, fields])
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

    /// Half of a run took 100 s by the clock, of which its steps took 25.
    @Test func theTimeLeftCountsValidations() throws {
        var half = SyntheticRun("half", loss: falling(to: 3))
        half.rows = 50
        try withRuns([half]) { _, folder in
            let path = folder.path + "/half"
            let written = try Date("2026-01-01T00:01:40Z", strategy: .iso8601)
            try FileManager.default.setAttributes([.modificationDate: written], ofItemAtPath: path + "/log.csv")
            let watch = try Watch(path)
            try watch.look()
            let screen = watch.screen(width: 500)
            #expect(screen.contains("1 min 40 s so far  1 min 40 s left"), "\(screen)")
        }
    }

}
