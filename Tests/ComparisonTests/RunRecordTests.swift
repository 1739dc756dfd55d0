import Comparison
import Console
import Files
import Foundation
import FoundationXML
import Machine
import TestSupport
import Testing

@Suite struct RunRecordTests {
    @Test func aLogThatWasLostOnTheWayIsReadAndSaid() throws {
        try withTemporaryFolder { folder in
            let paths = try (runs("adamw", [3.5]) + runs("muon", [3.4])).map { try $0.write(in: folder) }
            let lines = try String(contentsOfFile: paths[0] + "/log.csv", encoding: .utf8).split(separator: "\n")
            // As a run leaves it that was resumed at step 20 without its log.
            try Data(([lines[0]] + lines[21...]).joined(separator: "\n").appending("\n").utf8)
                .write(to: URL(filePath: paths[0] + "/log.csv"))
            let all = try findRuns([folder.path])
            #expect(all[0].finalLoss == 3.5)
            #expect(all[0].log.seconds == all[1].log.seconds)
            #expect(all[0].tokensPerSecond == all[1].tokensPerSecond)
            #expect(all[0].optimizerSecondsPerStep == 0.125)
            let text = try Comparison(all).text.replacing("\n", with: " ")
            #expect(text.contains("was lost up to step 20"), "\(text)")
            #expect(text.contains(/2 +adamw +0\.001 +3\.5000/))

            unlink(paths[0] + "/log.csv")
            let unranked = try Comparison(findRuns([folder.path]), force: true).text
            #expect(unranked.contains("adamw-0.001-1 has no log.csv"), "\(unranked)")
        }
    }

    /// What single rows of a log say, and the last lines of what a run said.
    @Test func aRunIsReadByItsLogAndItsLastWords() throws {
        try withTemporaryFolder { folder in
            func record(_ name: String, said: String = "", row: Int = 0, _ edit: (inout [String]) -> Void = { _ in })
                throws -> RunRecord
            {
                var run = SyntheticRun(name, loss: falling(to: 3))
                (run.trainLog, run.rows) = (said, said == "" ? nil : 50)
                let path = try run.write(in: folder)
                let file = URL(filePath: path).appending(path: "log.csv")
                var lines = try String(contentsOf: file, encoding: .utf8).components(separatedBy: "\n")
                var fields = lines[row].components(separatedBy: ",")
                edit(&fields)
                lines[row] = fields.joined(separator: ",")
                try Data(lines.joined(separator: "\n").utf8).write(to: file)
                return try RunRecord(path: path)
            }
            let silent = try record("silent", row: 100) { ($0[3], $0[4]) = ("", "") }
            #expect(silent.state == .finished && silent.finalLoss == nil)
            let error = try #require(throws: UserError.self) { try Comparison([silent]) }
            #expect(error.message.contains("there is no final validation loss (data.validation) in \(silent.path)"))

            #expect(try record("nan", row: 30) { ($0[3], $0[4]) = ("nan", "nan") }.state == .diverged(step: 30))
            #expect(try record("peak", row: 7) { $0[10] = "2000000" }.log.peakRSSBytes == 2_000_000)

            let line = "2026-01-01T00:00:00Z  "
            let history = String(repeating: "\(line)step 1\n", count: 9)
            let failure = "\(line)error: step 51: model.norm.weight\n\(line)hint: lower it\n"
            #expect(try record("failed", said: history + failure).state == .diverged(step: 51))
            #expect(try record("resumed", said: failure + history).state == .unfinished(step: 50))
        }
    }

    @Test func runsAreFoundInFolders() throws {
        try withTemporaryFolder { folder in
            for run in runs("adamw", [3.5, 3.6]) { try run.write(in: folder) }
            try FileManager.default.copyItem(
                atPath: folder.path + "/adamw-0.001-1", toPath: folder.path + "/adamw-0.001-1.old-1")
            let found = try findRuns([folder.path, folder.path + "/adamw-0.001-2/"])
            #expect(found.map { URL(filePath: $0.path).lastPathComponent } == ["adamw-0.001-1", "adamw-0.001-2"])
        }
    }

    @Test func whatIsNoRunIsAnError() throws {
        try withTemporaryFolder { folder in
            let empty = try #require(throws: UserError.self) { try findRuns([folder.path]) }
            #expect(empty.kind == .usage)
            #expect(empty.message.contains("is no run and holds none"))
            let missing = try #require(throws: UserError.self) { try findRuns([folder.path + "/nowhere"]) }
            #expect(missing.kind == .inputOutput)

            let path = try SyntheticRun("run", loss: falling(to: 3)).write(in: folder)
            let file = try #require(throws: UserError.self) { try findRuns([path + "/log.csv"]) }
            #expect(file.message.contains("is a file"))
            let log = path + "/log.csv"
            try Data("step,loss\n1,2\n".utf8).write(to: URL(filePath: log))
            let columns = try #require(throws: UserError.self) { try findRuns([path]) }
            #expect(columns.message.contains("log.csv:1: there is no column tokens"))
            try Data("model: {hidden_sise: 3}\n".utf8).write(to: URL(filePath: path + "/config.resolved.cfg"))
            let key = try #require(throws: UserError.self) { try findRuns([path]) }
            #expect(key.message.contains("config.resolved.cfg:1: unknown key `model.hidden_sise`"))
        }
    }

    @Test func aDamagedLogIsAnErrorWithItsLine() throws {
        try withTemporaryFolder { folder in
            let path = try SyntheticRun("run", loss: falling(to: 3)).write(in: folder)
            let log = URL(filePath: path + "/log.csv")
            var lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n")
            // A killed process leaves half a row at the end: it does not count.
            try Data((lines.joined(separator: "\n") + "\n101,3").utf8).write(to: log)
            #expect(try findRuns([path])[0].state == .finished)
            lines.remove(at: 50)
            try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: log)
            let error = try #require(throws: UserError.self) { try findRuns([path]) }
            #expect(error.message.contains("log.csv:51: this is not the row of step 50"))
        }
    }
}
