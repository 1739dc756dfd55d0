import Console
import ArgumentParser
import Comparison

struct PlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plot", abstract: "Draw the losses of runs.",
        discussion: """
            Up to eight runs have a color each: the training loss of each step (faint) and smoothed (a running mean over \
            2 % of the run), and the validation loss as marks. More, up to 100, are grouped by optimizer, the best run of \
            each in front of the others. A plot of the same name is replaced.

            Examples:
              cosmos-train plot runs/quickstart --output loss.png
              cosmos-train plot runs/sweep1 --validation-only --ylim 3:5 --output figure.pdf --output figure.svg
            """)

    @Argument(help: "Folders of runs, folders that hold runs, such as a sweep's, or logs (log.csv).")
    var runs: [String]

    @Option(
        name: .shortAndLong,
        help: ArgumentHelp("The file to write, .svg, .png or .pdf; may be given many times.", valueName: "file"))
    var output: [String] = []

    @Option(help: "What the losses are drawn over: tokens, steps, or time (of training).")
    var over = RunPlot.Axis.tokens

    @Flag(help: "Leave the training loss out.")
    var validationOnly = false

    @Flag(help: "Group by optimizer however few the runs.")
    var group = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Ends of the horizontal axis, in tokens, steps or seconds; either may be left out.", valueName: "low:high"))
    var xlim = PlotLimits()

    @Option(parsing: .unconditional, help: ArgumentHelp("Ends of the axis of losses.", valueName: "low:high"))
    var ylim = PlotLimits()

    func validate() throws {
        for file in output where !FigureFile.formats.contains(where: { file.lowercased().hasSuffix("." + $0) }) {
            throw ValidationError("--output \(file): must end in .svg, .png or .pdf")
        }
    }

    func run() throws {
        var plot = RunPlot()
        (plot.axis, plot.isValidationOnly, plot.isGrouped) = (over, validationOnly, group)
        (plot.xLimits, plot.yLimits) = (xlim, ylim)
        let svg = try plot.svg(runs, notice: printToStandardError)
        for file in output.isEmpty ? ["loss.svg"] : output {
            try FigureFile.write(svg, to: file)
            try printResult(file)
        }
    }
}

extension RunPlot.Axis: ExpressibleByArgument {}

extension PlotLimits: ExpressibleByArgument {
    /// `2:5`, `2:` or `:5`.
    public init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.contains(where: { !$0.isEmpty }) else { return nil }
        let values = parts.map { Double($0) }
        guard zip(parts, values).allSatisfy({ $0.isEmpty || $1.map { abs($0) < 1e30 } == true }),
            values[0] ?? -.infinity < values[1] ?? .infinity
        else { return nil }
        self.init(low: values[0], high: values[1])
    }

    public var defaultValueDescription: String { "all that there is" }
}
