import Foundation
import FoundationXML
import TestSupport
import Testing

private let ordinaryBuild: Comment = "scripts/plot.sh runs the program of an ordinary build"

/// `cosmos-train plot` on logs with everything that a log can hold, and scripts/plot.sh, the shell's way to it.
@Suite struct PlotCommandTests {
    static let header = """
        step,tokens,train_loss,validation_loss,validation_perplexity,learning_rate,gradient_norm,\
        step_seconds,tokens_per_second,optimizer_seconds,peak_rss_bytes
        """

    /// A log's row; an empty validation loss where nothing was evaluated.
    private func row(_ step: Int, _ loss: String, validation: String = "") -> String {
        "\(step),\(step * 4096),\(loss),\(validation),,0.001,1.5,0.2,20480.0,0.01,123456789"
    }

    private func write(_ lines: [String], as run: String, optimizer: String = "adamw", in folder: URL) throws {
        let runFolder = folder.appending(path: run)
        try FileManager.default.createDirectory(at: runFolder, withIntermediateDirectories: true)
        try Data(lines.map { $0 + "\n" }.joined().utf8).write(to: runFolder.appending(path: "log.csv"))
        try Data("optimizer: {name: \(optimizer)}\n".utf8).write(to: runFolder.appending(path: "config.resolved.cfg"))
    }

    /// Plots runs of these logs to `file` and hands on what came out.
    private func plot(
        _ runs: [(name: String, lines: [String])], _ options: [String] = [], to file: String = "loss.svg",
        check: (FinishedCommand, _ plot: Data?) throws -> Void
    ) throws {
        try withTemporaryFolder { folder in
            for run in runs { try write(run.lines, as: run.name, in: folder) }
            let output = folder.appending(path: file)
            let command = try run(
                program, ["plot"] + runs.map(\.name) + ["-o", output.path] + options, in: folder)
            try check(command, try? Data(contentsOf: output))
        }
    }

    private func text(_ plot: Data?) throws -> String {
        let data = try #require(plot)
        #expect(XMLParser(data: data).parse())
        return String(decoding: data, as: UTF8.self)
    }

    @Test func drawsSeveralRunsUnderTheirNames() throws {
        let falling = (1...300).map { row($0, "\(4 + 4 / Double($0))", validation: $0 % 50 == 0 ? "4.25" : "") }
        let other = (1...100).map { row($0, "\(5 + 3 / Double($0))") }
        let runs = [("cosmos_lr2e-3", [Self.header] + falling), ("it's <adamw>", [Self.header] + other)]
        try plot(runs) { command, plot in
            #expect(command.status == 0 && command.output.hasSuffix("loss.svg\n"), "\(command.errorOutput)")
            let text = try text(plot)
            #expect(text.contains("cosmos_lr2e-3, validation 4.250") && text.contains("it's &lt;adamw&gt;"))
            #expect(text.contains("tokens (thousands)"))
            #expect(text.components(separatedBy: " faint\"").count == 3)
        }
        try plot(runs, ["--over", "steps", "--validation-only", "--xlim", "100:", "--ylim", "4:5"]) { command, plot in
            let text = try text(plot)
            #expect(text.contains(">steps<") && text.contains("cosmos") && !text.contains("adamw"))
            #expect(command.errorOutput == "note: it's <adamw> has no validation loss to show yet\n")
        }
        try plot(runs, ["--over", "time"]) { _, plot in
            let text = try text(plot)
            #expect(text.contains(">seconds<"))
        }
    }

    /// A sweep of more runs than there are colors: a color an optimizer, the best run of each named.
    @Test func manyRunsAreGroupedByOptimizer() throws {
        try withTemporaryFolder { folder in
            for (index, optimizer) in ["muon", "adamw"].enumerated() {
                for run in 1...6 {
                    let loss = 3.0 + Double(index) + Double(run) / 10
                    let lines = [Self.header] + (1...20).map { row($0, "5", validation: $0 == 20 ? "\(loss)" : "") }
                    try write(lines, as: "sweep/\(optimizer)_\(run)", optimizer: optimizer, in: folder)
                }
            }
            let command = try run(program, ["plot", "sweep", "-o", "loss.svg"], in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            let text = try text(Data(contentsOf: folder.appending(path: "loss.svg")))
            #expect(text.contains("muon, best of 6: muon_1, validation 3.100"))
            #expect(text.contains("adamw, best of 6: adamw_1, validation 4.100"))
            #expect(text.components(separatedBy: " faint\"").count == 11)
            for run in 7...100 { try write([Self.header, row(1, "5")], as: "sweep/adamw_\(run)", in: folder) }
            let many = try run(program, ["plot", "sweep", "-o", "loss.svg"], in: folder)
            #expect(many.status == 64 && many.errorOutput.hasPrefix("error: 106 runs are too many for one plot\n"))
        }
    }

    @Test(arguments: [("loss.png", "\u{89}PNG"), ("loss.pdf", "%PDF")])
    func drawsPNGAndPDF(_ file: String, magic: String) throws {
        try plot([("run", [Self.header, row(1, "8.0"), row(2, "7.0")])], to: file) { command, plot in
            #expect(command.status == 0, "\(command.errorOutput)")
            let bytes = try #require(plot)
            #expect(bytes.starts(with: magic.unicodeScalars.map { UInt8($0.value) }))
        }
    }

    @Test(arguments: [
        ["1,4096,8.25,,,,,,,,"], ["1,4096,nan,,,,,,,,", "2,8192,8.0,7.5,,,,,,,"],
        ["1,4096,8.0,nan,nan,,,,,,", "2,8192,inf,,,,,,,,"],
        ["1,4096,7,7,,,,,,,", "2,8192,7,7,,,,,,,"],
        ["1,4096,1e308,,,,,,,,", "2,8192,-1e308,,,,,,,,", "3,12288,8.0,7.5,,,,,,,"],
    ])
    func drawsWhatThereIs(_ rows: [String]) throws {
        try plot([("run", [Self.header] + rows)]) { command, plot in
            #expect(command.status == 0, "\(command.errorOutput)")
            let text = try text(plot)
            #expect(text.contains("class=\"mark") || text.contains("class=\"line"))
            #expect(!text.contains("nan") && !text.contains("inf"))
        }
    }

    @Test func columnsAreFoundByName() throws {
        try plot([("run", ["validation_loss,extra,train_loss,tokens,step", "3.125,x,3.5,1000,1"])]) { command, plot in
            #expect(command.status == 0, "\(command.errorOutput)")
            let text = try text(plot)
            #expect(text.contains("validation 3.125"))
        }
    }

    @Test func runsOfTheSameNameAreToldApart() throws {
        let lines = [Self.header, row(1, "8.0"), row(2, "7.0")]
        try plot([("first/run", lines), ("second/run", lines)]) { _, plot in
            let text = try text(plot)
            #expect(text.contains("first/run") && text.contains("second/run"))
        }
    }

    @Test(.disabled(if: isSanitized, ordinaryBuild)) func namesAreNamesWhateverTheyHold() throws {
        let lines = [Self.header, row(1, "8.0"), row(2, "7.0")]
        let names = ["a\nsystem \"touch hacked\"\n#", "lr=0.001", "$(touch hacked)", "b\u{1b}[2J&"]
        try withTemporaryFolder { folder in
            for name in names { try write(lines, as: name, in: folder) }
            let script = repositoryRoot.appending(path: "scripts/plot.sh").path
            let command = try run("timeout", ["60", script] + names + ["-o", "loss.svg"], in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/hacked"))
            let text = try text(Data(contentsOf: folder.appending(path: "loss.svg")))
            #expect(text.contains("lr=0.001") && text.contains("b\\x1b[2J&amp;") && text.contains("$(touch hacked)"))
        }
    }

    @Test func aPlotThatCannotBeWrittenLeavesTheOldOne() throws {
        try withTemporaryFolder { folder in
            try write([Self.header, row(1, "8.0")], as: "run", in: folder)
            for file in ["loss.svg", "loss.png"] {
                try Data("old".utf8).write(to: folder.appending(path: file))
                let command = try run(
                    "bash", ["-c", limitingFiles(to: 0) + "exec '\(program)' plot run -o \(file)"], in: folder)
                #expect(command.status == 74, "\(command.errorOutput)")
                let left = try Data(contentsOf: folder.appending(path: file))
                #expect(left == Data("old".utf8))
            }
            let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            #expect(files.count == 3)
        }
    }

    @Test func badInputIsAnErrorAndLeavesNoPlot() throws {
        for (lines, message) in [
            (["step,loss", "1,8"], "error: run/log.csv:1: there is no column tokens"),
            ([Self.header, row(1, "8"), "2,?,7,,,,,,,,"], "error: run/log.csv:3: tokens, ?, is not a number"),
            ([Self.header], "note: run has no loss to show yet\nerror: none of the runs has a loss to plot"),
        ] {
            try plot([("run", lines)]) { command, plot in
                #expect(command.status == 65 && plot == nil)
                #expect(command.errorOutput.hasPrefix(message), "\(command.errorOutput)")
            }
        }
        let lines = [Self.header, row(1, "8.0")]
        try plot([("run", lines)], to: "missing/loss.svg") { command, _ in #expect(command.status == 74) }
        try plot([("run", lines)], to: "loss.gif") { command, _ in #expect(command.status == 64) }
        for limits in ["5:4", "-1e308:1e308"] {
            try plot([("run", lines)], ["--ylim", limits]) { command, _ in #expect(command.status == 64) }
        }
        try plot([("run", lines)], ["--ylim", "1:2"]) { command, plot in
            #expect(command.status == 65 && command.errorOutput.contains("no loss lies within the limits"))
        }
    }

    @Test(.disabled(if: isSanitized, ordinaryBuild)) func theScriptEndsAsTheProgramDoes() throws {
        #expect(try run("scripts/plot.sh", ["nowhere"]).status == 74)
        #expect(try run("scripts/plot.sh").status == 64)
    }
}
