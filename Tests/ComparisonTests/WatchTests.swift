import Comparison
import Console
import Files
import Foundation
import Machine
import TestSupport
import Testing

/// What a watcher makes of folders that are damaged, or that somebody made to mislead it.
@Suite struct WatchTests {
    private func summary(_ rows: [String], in folder: URL) throws {
        try Data((["run,state,optimizer,steps,message"] + rows).joined(separator: "\n").appending("\n").utf8)
            .write(to: folder.appending(path: "summary.csv"))
    }

    @Test func aRunThatCannotBeReadIsNamedAndWaitedForByNobody() throws {
        try withTemporaryFolder { folder in
            for run in runs("adamw", [3.5, 3.6]) { try run.write(in: folder) }
            let broken = folder.appending(path: "adamw-0.001-2").path
            try Data("model: {no_such_key: 1}\n".utf8).write(
                to: URL(filePath: broken).appending(path: "config.resolved.cfg"))
            try summary(["adamw-0.001-1,finished,adamw,100,", "adamw-0.001-2,finished,adamw,100,"], in: folder)
            let watch = try Watch(folder.path)
            #expect(try watch.look())
            #expect(watch.isOver)
            let screen = watch.screen(width: 200)
            #expect(screen.contains("Cannot be read\nadamw-0.001-2  ") && screen.contains("unknown key"), "\(screen)")
            #expect(try watch.report(provenance: .init(commit: "abc", threads: 1)).contains("-2 cannot be read: "))
            #expect(try !watch.look())

            let alone = try Watch(broken)
            let error = #expect(throws: UserError.self) { try alone.look() }
            #expect(error?.message.contains("config.resolved.cfg:1: unknown key") == true)
            // One that is about to begin has no settings yet.
            unlink(broken + "/config.resolved.cfg")
            #expect(try !Watch(broken).look() && !Watch(broken).isOver)
        }
    }

    @Test func whatIsPlannedIsWaitedFor() throws {
        try withTemporaryFolder { folder in
            for run in runs("adamw", [3.5]) { try run.write(in: folder) }
            for (state, isOver) in [("planned", false), ("running", false), ("failed", true)] {
                try summary(["adamw-0.001-1,finished,adamw,100,", "other,\(state),muon,100,it broke"], in: folder)
                let watch = try Watch(folder.path)
                try watch.look()
                #expect(watch.isOver == isOver, "\(state)")
                #expect(watch.screen(width: 200).contains(/\nmuon +- +- +- +- +0 of 1/))
                #expect(watch.screen(width: 200).contains("Failed\nother  it broke") == isOver)
            }
        }
    }

    /// A setting of which a seed diverged is not the best, nor is one that changed on the way.
    @Test func theBestIsWhatWouldBeRanked() throws {
        let change = """
            {"kind": "resume", "step": 15, "time": "2026-01-02T00:00:00Z", "changes": [
            {"setting": "optimizer.lr", "old": "0.002", "new": "0.004"}]}
            """
        let all =
            runs("adamw", lr: 1e-3, [3.5, 3.6]) + runs("adamw", lr: 2e-3, [3.1])
            + runs("adamw", lr: 2e-3, [0, 3.1]).suffix(1).map {
                var run = $0
                run.loss = { $0 > 70 ? .nan : 3.1 }
                return run
            } + runs("adamw", lr: 4e-3, [3.0]) { $0.events = [change] }
        try withRuns(all) { _, folder in
            let watch = try Watch(folder.path)
            try watch.look()
            let screen = watch.screen(width: 200)
            #expect(screen.contains(/\nadamw +0\.001 +3\.5500 +0\.0707 +2 +5 of 5 +1/), "\(screen)")
            #expect(screen.contains(/\nDiverged\nadamw-0\.002-2 +step 100\/100/), "\(screen)")
        }
    }

    /// A process that was killed leaves no word.
    @Test func aRunThatIsSilentIsNotUnderWay() throws {
        let stop = #"{"kind": "stop", "step": 50, "time": "2026-01-02T00:00:00Z"}"#
        let all =
            runs("adamw", [3.5]) { $0.rows = 50 } + runs("muon", [3.5]) { $0.rows = 50 }
            + runs("soap", [3.5]) { ($0.rows, $0.events) = (50, [stop]) }
        try withRuns(all) { _, folder in
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSinceNow: -7200)],
                ofItemAtPath: folder.path + "/muon-0.001-1/log.csv")
            let watch = try Watch(folder.path)
            try watch.look()
            let screen = watch.screen(width: 200)
            #expect(!watch.isOver && screen.contains("0 of 3 runs ended  1 under way"), "\(screen)")
            #expect(screen.contains(/\nUnder way\nadamw-0\.001-1 +step 50\/100/), "\(screen)")
            #expect(screen.contains(/\nmuon-0\.001-1 +silent for 2 h 00 min +step 50\/100/), "\(screen)")
            #expect(screen.contains(/\nsoap-0\.001-1 +stopped +step 50\/100/), "\(screen)")
        }
    }

    @Test func impossibleNumbersAreNoEnd() throws {
        let largest = "\(Int.max)"
        try withTemporaryFolder { folder in
            let path = try SyntheticRun("run", loss: { $0 % 2 == 0 ? 1e308 : -1e308 }).write(in: folder)
            let log = URL(filePath: path).appending(path: "log.csv")
            let lines = try String(contentsOf: log, encoding: .utf8).split(separator: "\n").map(String.init)
            let alone = try Watch(path)
            try alone.look()
            #expect(alone.screen(width: 100).contains("1e+308"))

            for (column, value) in [
                (0, largest), (1, largest), (7, "inf"), (7, "nan"), (7, "-1"), (7, "1e300"), (9, "nan"), (10, largest),
            ] {
                var fields = lines[1].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
                fields[column] = value
                let rows = [lines[0], fields.joined(separator: ","), fields.joined(separator: ",")]
                try Data(rows.joined(separator: "\n").appending("\n").utf8).write(to: log)
                let error = #expect(throws: UserError.self, "\(column) \(value)") { try Watch(path).look() }
                #expect(error?.message.contains("log.csv:2: this is not the row of step 1") == true)
            }
            try summary(["a,planned,adamw,\(largest),", "b,planned,adamw,\(largest),"], in: folder)
            let sweep = try Watch(folder.path)
            try sweep.look()
            #expect(sweep.screen(width: 100).contains("0 of 2 runs ended"))
        }
    }

    @Test(.timeLimit(.minutes(1))) func pipesAreNotWaitedFor() throws {
        try withTemporaryFolder { folder in
            let path = try SyntheticRun("run") { _ in 3 }.write(in: folder)
            for name in ["train.log", "history.json"] {
                unlink("\(path)/\(name)")
                try #require(mkfifo("\(path)/\(name)", 0o600) == 0)
            }
            let log = URL(filePath: path).appending(path: "log.csv")
            let half = try String(contentsOf: log, encoding: .utf8).split(separator: "\n").prefix(51)
            try Data(half.joined(separator: "\n").appending("\n").utf8).write(to: log)
            try #require(mkfifo(folder.path + "/summary.csv", 0o600) == 0)
            let watch = try Watch(folder.path)
            try watch.look()
            #expect(watch.screen(width: 100).contains("0 of 1 runs ended"))
        }
    }
}
