import Foundation
import TestSupport
import Testing

/// scripts/plot.sh on logs with everything that a log can hold.
@Suite struct PlotScriptTests {
    static let header = """
        step,tokens,train_loss,validation_loss,validation_perplexity,learning_rate,gradient_norm,\
        step_seconds,tokens_per_second,optimizer_seconds,peak_rss_bytes
        """

    /// A log's row; an empty validation loss where nothing was evaluated.
    private func row(_ step: Int, _ loss: String, validation: String = "") -> String {
        "\(step),\(step * 4096),\(loss),\(validation),,0.001,1.5,0.2,20480.0,0.01,123456789"
    }

    /// Writes `runs/<name>/log.csv` for each run, plots them to `file` and hands on what came out.
    private func plot(
        _ runs: [(name: String, lines: [String])], to file: String = "loss.svg",
        check: (FinishedCommand, _ plot: Data?, _ folder: URL) throws -> Void
    ) throws {
        try withTemporaryFolder { folder in
            for run in runs {
                let runFolder = folder.appending(path: run.name)
                try FileManager.default.createDirectory(at: runFolder, withIntermediateDirectories: true)
                let text = run.lines.map { $0 + "\n" }.joined()
                try Data(text.utf8).write(to: runFolder.appending(path: "log.csv"))
            }
            let output = folder.appending(path: file)
            let script = repositoryRoot.appending(path: "scripts/plot.sh").path
            let command = try run(script, runs.map(\.name) + ["-o", output.path], in: folder)
            try check(command, try? Data(contentsOf: output), folder)
        }
    }

    @Test func drawsSeveralRunsUnderTheirNames() throws {
        let falling = (1...300).map { row($0, "\(4 + 4 / Double($0))", validation: $0 % 50 == 0 ? "4.25" : "") }
        let other = (1...100).map { row($0, "\(5 + 3 / Double($0))") }
        try plot([("cosmos_lr2e-3", [Self.header] + falling), ("it's adamw", [Self.header] + other)]) {
            command, plot, _ in
            #expect(command.status == 0, "\(command.errorOutput)")
            let text = String(decoding: try #require(plot), as: UTF8.self)
            #expect(text.contains("cosmos_lr2e-3, validation: 4.250"))
            #expect(text.contains("it's adamw"))
            #expect(text.contains("tokens (thousands)"))
            #expect(text.contains("steps"))
        }
    }

    @Test func drawsPNG() throws {
        try plot([("run", [Self.header, row(1, "8.0"), row(2, "7.0")])], to: "loss.png") { command, plot, _ in
            #expect(command.status == 0, "\(command.errorOutput)")
            let image = try #require(plot)
            #expect(image.starts(with: [0x89, 0x50, 0x4e, 0x47]))
        }
    }

    @Test(arguments: [
        ["1,4096,8.25,,,,,,,,"], ["1,4096,nan,,,,,,,,", "2,8192,8.0,7.5,,,,,,,"],
        ["1,4096,8.0,nan,nan,,,,,,", "2,8192,inf,,,,,,,,"],
        ["1,4096,7,7,,,,,,,", "2,8192,7,7,,,,,,,"],
    ])
    func drawsWhatThereIs(_ rows: [String]) throws {
        try plot([("run", [Self.header] + rows)]) { command, plot, _ in
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(plot?.isEmpty == false)
        }
    }

    @Test func columnsAreFoundByName() throws {
        try plot([("run", ["validation_loss,extra,train_loss,tokens,step", "3.125,x,3.5,1000,1"])]) {
            command, plot, _ in
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(String(decoding: plot ?? Data(), as: UTF8.self).contains("validation: 3.125"))
        }
    }

    @Test func runsOfTheSameNameAreToldApart() throws {
        let lines = [Self.header, row(1, "8.0"), row(2, "7.0")]
        try plot([("first/run", lines), ("second/run", lines)]) { _, plot, _ in
            let text = String(decoding: plot ?? Data(), as: UTF8.self)
            #expect(text.contains("first/run"))
            #expect(text.contains("second/run"))
        }
    }

    @Test func badInputIsAnErrorAndLeavesNoPlot() throws {
        try plot([("run", ["step,loss", "1,8"])]) { command, plot, folder in
            #expect(command.status == 65)
            #expect(command.errorOutput.contains("run/log.csv: there is no column tokens"))
            #expect(plot == nil)
        }
        try plot([("run", [Self.header])]) { command, plot, _ in
            #expect(command.status == 65)
            #expect(command.errorOutput.contains("has no loss to show yet"))
            #expect(plot == nil)
        }
        try plot([("run", [Self.header, row(1, "8.0")])], to: "missing/loss.svg") { command, _, _ in
            #expect(command.status == 74)
        }
        #expect(try run("scripts/plot.sh", ["nowhere"]).status == 74)
        #expect(try run("scripts/plot.sh", ["-o", "loss.pdf"]).status == 64)
        #expect(try run("scripts/plot.sh").status == 64)
    }
}
