import ArgumentParser
import Comparison
import Console
import Files
import Foundation
import Machine

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Compare the optimizers of finished runs: losses, significance, speed-up.",
        discussion: """
            For each optimizer the setting with the lowest mean of the final validation losses over its seeds; whether \
            the differences are significant (Welch's t-test, Holm's correction); when each run reached a target loss; \
            how many more tokens AdamW would need. Runs that are unfinished, or differ in data, tokens, model, batch or \
            evaluation, are not ranked: the message says what differs. docs/comparing.md has the formulas.

            The fit of AdamW's loss against tokens needs its final losses at four numbers of tokens or more: name runs \
            of other lengths with --adamw-runs. With a constant learning rate one run has enough of them.

            Examples:
              cosmos-train compare runs/sweep1
              cosmos-train compare runs/sweep1 --report runs/sweep1/report.html
              cosmos-train compare runs/adamw-* runs/cosmos-* --target-loss 3.4 --format markdown --output results.md
            """)

    enum Layout: String, CaseIterable, ExpressibleByArgument { case table, markdown, latex, csv }

    @Argument(help: "Folders of runs, or folders that hold runs, such as a sweep's.")
    var runs: [String]

    @Option(
        parsing: .unconditional,
        help: "Show when each run reached this validation loss (default: the mean final loss of adamw).")
    var targetLoss: Double?

    @Option(
        name: .customLong("adamw-runs"), parsing: .upToNextOption,
        help: "AdamW's runs of other lengths, for the speed-up alone.")
    var adamwRuns: [String] = []

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Settings whose values make variants of an optimizer, each ranked by itself: optimizer.rank, optimizer.scale.",
            valueName: "section.key"))
    var variants: [String] = []

    @Flag(help: "Show runs that cannot be ranked, unranked.")
    var force = false

    @Option(
        help:
            "How to print the result: table, markdown, latex (booktabs, graphicx), or csv (a line for each setting, for programs)."
    )
    var format = Layout.table

    @Option(help: ArgumentHelp("Write the result to a file instead of the terminal.", valueName: "file"))
    var output: String?

    @Option(help: ArgumentHelp("Write the plots to this folder.", valueName: "folder"))
    var plots: String?

    @Option(help: "What the plots are: svg, png or pdf.")
    var plotFormat = "svg"

    @Option(help: ArgumentHelp("Write a page with all tables and plots.", valueName: "file.html"))
    var report: String?

    @Flag(help: "Replace files of these names that are there already.")
    var replace = false

    func validate() throws {
        if !FigureFile.formats.contains(plotFormat) {
            throw ValidationError("--plot-format \(plotFormat): must be svg, png or pdf")
        }
        if let targetLoss, !(targetLoss.isFinite && targetLoss > 0) {
            throw ValidationError("--target-loss \(targetLoss): must be a number greater than 0")
        }
    }

    func run() throws {
        let comparison = try Comparison(
            tellApart(findRuns(runs), by: variants), targetLoss: targetLoss, adamwRuns: findRuns(adamwRuns),
            force: force,
            planProblems: runs.compactMap(unfinishedSweep))
        let plotFiles = plots.map { folder in comparison.plots.map { "\(folder)/\($0.name).\(plotFormat)" } } ?? []
        for path in [output, report].compactMap({ $0 }) + plotFiles where !replace && access(path, F_OK) == 0 {
            throw UserError(
                .usage, "\(path) is already there", hint: "choose another name, or replace it with --replace")
        }
        let text =
            switch format {
            case .table: comparison.text
            case .markdown: comparison.markdown
            case .latex: comparison.latex
            case .csv: comparison.csv
            }
        if let output { try AtomicFile.write(text, to: output) } else { try printResult(text, terminator: "") }
        if let plots {
            try makeFolder(plots)
            for (plot, path) in zip(comparison.plots, plotFiles) { try FigureFile.write(plot.svg, to: path) }
        }
        if let report {
            try AtomicFile.write(
                comparison.report(
                    title: "Comparison of \(abridged(runs.map { folderAndName(of: $0).name }))",
                    provenance: Provenance(commit: sourceCommit, threads: 1)), to: report)
            printToStandardError("report  \(report)")
        }
    }
}
