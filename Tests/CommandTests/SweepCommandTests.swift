import Foundation
import TestSupport
import Testing

/// `scripts/sweep.sh`'s command on a tiny model, and `cosmos-train compare` on what it leaves.
@Suite struct SweepCommandTests {
    private func prepare(_ folder: URL, steps: Int = 20) throws {
        try TinyRun(steps: steps, tokens: 4_001, length: 16).write(to: folder)
    }

    private func sweep(_ arguments: String..., in folder: URL) throws -> FinishedCommand {
        try run(program, ["sweep", "--config", "run.cfg", "--out", "sweep"] + arguments, in: folder)
    }

    private func states(in folder: URL) throws -> [String: String] {
        let text = try String(contentsOf: folder.appending(path: "sweep/summary.csv"), encoding: .utf8)
        let rows = text.split(separator: "\n").dropFirst().map { $0.split(separator: ",") }
        return Dictionary(uniqueKeysWithValues: rows.map { (String($0[0]), String($0[1])) })
    }

    @Test func linksInTheFolderAreRefused() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            #expect(try sweep("--vary", "optimizer.lr=1e-2", "--seeds", "1", in: folder).status == 0)
            let runs = try states(in: folder).keys.sorted()
            let target = folder.appending(path: "target")
            try Data("precious".utf8).write(to: target)
            for name in [".lock", "output/\(runs[0]).txt", "output"] {
                let file = folder.appending(path: "sweep/\(name)")
                try FileManager.default.removeItem(at: file)
                let elsewhere = folder.appending(path: "elsewhere")
                if name == "output" {
                    try FileManager.default.createDirectory(at: elsewhere, withIntermediateDirectories: false)
                }
                try FileManager.default.createSymbolicLink(
                    at: file, withDestinationURL: name == "output" ? elsewhere : target)
                try? FileManager.default.removeItem(at: folder.appending(path: "sweep/\(runs[0])"))
                let command = try sweep("--vary", "optimizer.lr=1e-2", "--seeds", "1", in: folder)
                #expect(command.status == 74, "\(command.errorOutput)")
                #expect(command.errorOutput.contains("sweep/\(name): it is a symbolic link"), "\(command.errorOutput)")
                #expect(try String(contentsOf: target, encoding: .utf8) == "precious")
                if name == "output" {
                    #expect(try FileManager.default.contentsOfDirectory(atPath: elsewhere.path) == [])
                }
                try FileManager.default.removeItem(at: file)
            }
        }
    }

    @Test func makesEveryCombinationKeepsWhatIsFinishedAndComparesIt() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let arguments = ["--vary", "optimizer.name=adamw,muon", "--vary", "optimizer.lr=1e-2,3e-2", "--seeds", "2"]
            let command = ["sweep", "--config", "run.cfg", "--out", "sweep"] + arguments
            let first = try run(program, command, in: folder)
            #expect(first.status == 0, "\(first.errorOutput)")
            let states = try states(in: folder)
            #expect(states.count == 8)
            #expect(states.values.allSatisfy { $0 == "finished" })
            #expect(states["muon-lr0.03-seed2"] == "finished")
            let resolved = try String(
                contentsOf: folder.appending(path: "sweep/muon-lr0.03-seed2/config.resolved.cfg"), encoding: .utf8)
            #expect(resolved.components(separatedBy: "seed: 2 ").count == 3)

            let log = folder.appending(path: "sweep/muon-lr0.03-seed2/log.csv")
            let written = try Data(contentsOf: log)
            let again = try run(program, command, in: folder)
            #expect(again.status == 0)
            #expect(again.output.contains(/muon-lr0\.03-seed2 +finished before +validation loss/))
            #expect(try Data(contentsOf: log) == written)

            let watch = try run(program, ["watch", "sweep", "--html", "live.html"], in: folder)
            #expect(watch.status == 0 && watch.output.hasPrefix("sweep  8 of 8 runs ended"), "\(watch.errorOutput)")
            #expect(try run(program, ["watch", "sweep", "--html", "live.html"], in: folder).status == 0)
            let other = try run(program, ["watch", "sweep", "--html", "run.cfg"], in: folder)
            #expect(other.status == 64)
            #expect(other.errorOutput.hasPrefix("error: run.cfg is already there and is no report"))
            #expect(
                watch.output.contains(/\n(adamw|muon) +0\.0[13] +\d\.\d{4} +\d\.\d{4} +2 +4 of 4/), "\(watch.output)")
            let one = try run(program, ["watch", "sweep/muon-lr0.03-seed2"], in: folder)
            #expect(one.output.hasPrefix("sweep/muon-lr0.03-seed2  100 %  muon") || one.output.contains("step 20/20"))
            #expect(one.output.contains("best so far: ") && one.output.contains("o"), "\(one.output)")
            // The page that is kept up to date ends as the report.
            func page(_ file: String) throws -> Substring {
                let text = try String(contentsOf: folder.appending(path: file), encoding: .utf8)
                return text[(try #require(text.firstRange(of: "<h2>"))).lowerBound...]
            }

            let compare = try run(
                program, ["compare", "sweep", "--report", "report.html", "--plots", "plots", "--output", "result.txt"],
                in: folder)
            #expect(compare.status == 0, "\(compare.errorOutput)")
            let text = try String(contentsOf: folder.appending(path: "result.txt"), encoding: .utf8)
            #expect(text.contains(/\n1 +(adamw|muon) +0\.0[13] +\d\.\d{4} +\d\.\d{4} +2\s/))
            #expect(try page("report.html") == page("live.html"))
            #expect(try page("report.html").contains("</html>"))
            let plots = try FileManager.default.contentsOfDirectory(atPath: folder.appending(path: "plots").path)
            #expect(
                plots.sorted() == [
                    "loss-lr.svg", "loss-time.svg", "loss-tokens.svg", "memory-loss.svg", "train-tokens.svg",
                ])
        }
    }

    /// What the configuration's own optimizer was tuned to is no part of a comparison of optimizers.
    @Test func comparedOptimizersStartAlike() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let file = folder.appending(path: "run.cfg")
            let text = try String(contentsOf: file, encoding: .utf8)
                .replacing(
                    "{name: adamw, lr: 1.0e-2}", with: "{name: cosmos, lr: 1.0e-2, gamma: 0.5, adam: {lr: 0.03}}")
            try Data(text.utf8).write(to: file)
            let command = try sweep(
                "--vary", "optimizer.name=cosmos,adamw", "--vary", "optimizer.lr=2e-2", in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(command.errorOutput.contains("the optimizer section of run.cfg counts for none of them"))
            func resolved(_ run: String) throws -> String {
                try String(contentsOf: folder.appending(path: "sweep/\(run)/config.resolved.cfg"), encoding: .utf8)
            }
            let cosmos = try resolved("cosmos")
            #expect(cosmos.contains("gamma: auto ") && cosmos.contains("    lr: 0.002 "), "\(cosmos)")
            #expect(try resolved("adamw").contains("weight_decay: 0.01 "))

            // Where one optimizer is looked at, its section counts.
            #expect(try sweep("--vary", "optimizer.lr=4e-2", in: folder).status == 0)
            #expect(try resolved("lr0.04").contains("gamma: 0.5 "))

            let page = folder.appending(path: "report.html").path
            let compare = try run(
                program, ["compare", folder.path + "/sweep", "--report", page], in: folder)
            #expect(compare.status == 0, "\(compare.errorOutput)")
            let report = try String(contentsOfFile: page, encoding: .utf8)
            #expect(!report.contains(folder.path), "a published report shows no paths of this machine")
            for text in [
                "cosmos-train train --config sweep/output/cosmos.cfg", "kernels for",
                "<td class=\"words\">commit",
            ] {
                #expect(report.contains(text), "the report lacks \(text)")
            }
        }
    }

    @Test func gridsOfAFileAreEachOptimizersOwn() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let grid = "adamw:\n  optimizer.lr: [1.0e-3, 2.0e-3]\ncosmos:\n  optimizer.rank: [4, 8]\n"
            try Data(grid.utf8).write(to: folder.appending(path: "grid.cfg"))
            let command = try sweep(
                "--file", "grid.cfg", "--set", "schedule.warmup=0", "--dry-run", "--no-probe", "--jobs", "2",
                "--threads",
                "1", in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            let lines = command.output.split(separator: "\n")
            #expect(
                lines.prefix(4).map { $0.prefix { $0 != " " } } == [
                    "sweep/adamw-lr0.001", "sweep/adamw-lr0.002", "sweep/cosmos-rank4", "sweep/cosmos-rank8",
                ])
            #expect(lines.count == 5 && lines[4].contains(/^4 runs, 2 at a time: at most \d+(\.\d+)? [KM]iB/))
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/sweep"))
        }
    }

    @Test func divergedAndFailedRunsAreRecordedAndStopNothing() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let diverged = try sweep("--vary", "optimizer.lr=1e30,1e-2", in: folder)
            #expect(diverged.status == 0, "\(diverged.errorOutput)")
            #expect(try states(in: folder) == ["lr1.0e+30": "diverged", "lr0.01": "finished"])
            let compare = try run(program, ["compare", "sweep"], in: folder)
            #expect(compare.status == 0, "\(compare.errorOutput)")
            #expect(compare.output.contains("diverged in 1 of 1 runs"))

            try FileManager.default.removeItem(atPath: folder.path + "/sweep")
            let failed = try sweep("--vary", "data.train=nowhere.bin,train.bin", in: folder)
            #expect(failed.status == 65)
            #expect(
                failed.errorOutput.contains("1 of 2 runs failed; the first, trainnowhere.bin: cannot open nowhere.bin"))
            #expect(try states(in: folder) == ["trainnowhere.bin": "failed", "traintrain.bin": "finished"])
            let unranked = try run(program, ["compare", "sweep"], in: folder)
            #expect(unranked.status == 65)
            #expect(unranked.errorOutput.contains("1 of the 2 runs of the sweep sweep are missing"))
            try FileManager.default.copyItem(
                atPath: folder.path + "/train.bin", toPath: folder.path + "/nowhere.bin")
            #expect(try sweep("--vary", "data.train=nowhere.bin,train.bin", in: folder).status == 0)
        }
    }

    @Test func anInterruptedSweepGoesOn() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 3000)
            let arguments = ["sweep", "--config", "run.cfg", "--out", "sweep", "--vary", "optimizer.lr=1e-2,2e-2"]
            let end = try start(arguments, in: folder) { process in
                waitForRows(20, of: "sweep/lr0.01", in: folder)
                // A second sweep must not work in the same folder.
                let other = try run(program, arguments, in: folder)
                #expect(other.status == 64)
                #expect(
                    other.errorOutput.contains("another process")
                        && other.errorOutput.contains("choose another --out (the shards"))
                kill(process.processIdentifier, SIGINT)
            }
            #expect(end.reason == .exit && end.status == 75)
            #expect(try states(in: folder) == ["lr0.01": "stopped", "lr0.02": "planned"])

            let refused = try run(program, ["compare", "sweep"], in: folder)
            #expect(refused.status == 65)
            #expect(refused.errorOutput.contains("sweep/lr0.01 is not finished"))
            #expect(try run(program, ["compare", "sweep", "--force"], in: folder).status == 0)

            // A plan without the run that was not begun gives it up.
            #expect(try run(program, arguments.dropLast() + ["optimizer.lr=1e-2"], in: folder).status == 0)
            #expect(try states(in: folder) == ["lr0.01": "finished"])
            #expect(try run(program, ["compare", "sweep"], in: folder).status == 0)

            let resumed = try run(program, arguments, in: folder)
            #expect(resumed.status == 0, "\(resumed.errorOutput)")
            #expect(try states(in: folder) == ["lr0.01": "finished", "lr0.02": "finished"])
            let lines = try String(contentsOf: folder.appending(path: "sweep/lr0.01/log.csv"), encoding: .utf8)
                .split(separator: "\n")
            #expect(lines.count == 3001)
        }
    }

    @Test func aSecondGridInTheSameFolderKeepsTheFirst() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            #expect(try sweep("--vary", "optimizer.betas=[0.9, 0.95],[0.8, 0.9]", in: folder).status == 0)
            let file = folder.appending(path: "sweep/summary.csv")
            let first = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            let second = try sweep(
                "--vary", "optimizer.weight_decay=0,0.1", "--set", "optimizer.betas=[0.9, 0.95]", in: folder)
            #expect(second.status == 0, "\(second.errorOutput)")
            let both = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            #expect(both.count == 5, "\(both)")
            for (old, new) in zip(first, both).dropFirst() {
                // The first grid has no value in the second's column.
                #expect(old.hasPrefix("betas_0.") && new.replacing(",0.01,,", with: ",0.01,") == old, "\(old) \(new)")
            }
            #expect(both[4].hasPrefix(#"weight_decay0.1,finished,adamw,1,0.01,0.1,"[0.9, 0.95]",20,20,"#), "\(both[4])")

            try FileManager.default.removeItem(atPath: folder.path + "/sweep/weight_decay0.0")
            let compare = try run(program, ["compare", "sweep", "--force"], in: folder)
            #expect(
                compare.output.contains("1 of the 4 runs of the sweep sweep are missing: weight_decay0.0 (finished)"))
        }
    }

    @Test func shardsMakeEachRunOnce() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let grid = ["--vary", "optimizer.lr=1e-2,2e-2,3e-2"]
            func sweep(_ arguments: String...) throws -> FinishedCommand {
                try run(program, ["sweep", "--config", "run.cfg", "--out", "sweep"] + grid + arguments, in: folder)
            }
            #expect(try sweep("--shard", "2/2").status == 0)
            #expect(try states(in: folder) == ["lr0.01": "planned", "lr0.02": "finished", "lr0.03": "planned"])
            #expect(try sweep("--shard", "1/2").status == 0)
            let all = try sweep()
            #expect(all.status == 0 && all.output.matches(of: /finished before/).count == 3, "\(all.errorOutput)")
            let summary = try String(contentsOf: folder.appending(path: "sweep/summary.csv"), encoding: .utf8)
            #expect(summary.matches(of: /,cosmos-train [\d.]+,("[^"]+"|[^,"]+),\n/).count == 3, "\(summary)")
            for bad in ["0/2", "3/2", "2", "a/b", "1/2/3"] { #expect(try sweep("--shard", bad).status == 64) }
        }
    }

    @Test func shardsWorkAtOnceInOneFolder() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 60)
            func start(_ shard: [String]) throws -> Process {
                let process = Process()
                process.executableURL = URL(filePath: program)
                process.arguments =
                    [
                        "sweep", "--config", "run.cfg", "--out", "sweep", "--vary", "optimizer.lr=1e-2,2e-2", "--seeds",
                        "4",
                    ]
                    + shard
                process.currentDirectoryURL = folder
                process.standardInput = FileHandle.nullDevice
                process.standardError = FileHandle.nullDevice
                try process.run()
                return process
            }
            let shards = try ["1/3", "2/3", "3/3"].map { try start(["--shard", $0]) }
            while (try? states(in: folder)) == nil { usleep(1000) }
            let whole = try start([])
            whole.waitUntilExit()
            #expect(whole.terminationStatus == 64)
            for shard in shards {
                shard.waitUntilExit()
                #expect(shard.terminationStatus == 0)
            }
            #expect(try states(in: folder).values.allSatisfy { $0 == "finished" })
            let summary = try String(contentsOf: folder.appending(path: "sweep/summary.csv"), encoding: .utf8)
            let names = summary.split(separator: "\n").dropFirst().map { String($0.prefix { $0 != "," }) }
            #expect(names == [0.01, 0.02].flatMap { lr in (1...4).map { "lr\(lr)-seed\($0)" } })
            for name in names {
                let log = try String(contentsOf: folder.appending(path: "sweep/\(name)/log.csv"), encoding: .utf8)
                #expect(log.count { $0 == "\n" } == 61)
            }
        }
    }

    @Test func aRunThatChangedOnTheWayIsNoRunOfASweep() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            #expect(try sweep("--vary", "optimizer.lr=1e-2,2e-2", in: folder).status == 0)
            let changed = try run(
                program, ["--config", "sweep/output/lr0.01.cfg", "--resume", "--reset-optimizer"], in: folder)
            #expect(changed.status == 0, "\(changed.errorOutput)")
            let again = try sweep("--vary", "optimizer.lr=1e-2,2e-2", in: folder)
            #expect(again.status == 64)
            #expect(again.errorOutput.contains("sweep/lr0.01 holds a run that changed on the way: after step 20"))
            let compare = try run(program, ["compare", "sweep"], in: folder)
            #expect(compare.status == 0, "\(compare.errorOutput)")
            #expect(compare.output.contains("sweep/lr0.01 gets no rank"))
        }
    }

    @Test(arguments: [
        (["--vary", "optimizer.lrr=1"], "--vary optimizer.lrr: unknown key `optimizer.lrr`"),
        (["--vary", "optimizer.lr=-1"], "--vary optimizer.lr: optimizer.lr: -1 must be 0 or greater"),
        (["--vary", "optimizer.lr="], "the grid is empty"), (["--vary", "optimizer.lr"], "not of the form"),
        ([], "nothing varies"),
        (["--vary", "optimizer.lr=1", "--vary", "optimizer.lr=2"], "optimizer.lr is given twice"),
        (["--vary", "model={}", "--vary", "model.vocab_size=32"], "model.vocab_size overlaps with model"),
        (["--vary", "data.seed=1,2", "--seeds", "2"], "data.seed overlaps with --seeds"),
        (["--vary", "optimizer.lr=1e-3,0.001"], "the grid has the run lr0.001 twice"),
        (["--vary", "training.threads=1,2"], "the sweep sets it itself"),
        (["--vary", "optimizer.lr=1,2", "--set", "optimizer.lr=3"], "--set optimizer.lr: optimizer.lr is given twice"),
        (["--vary", "optimizer.lr=1,2", "--set", "optimizer.rank=3"], "--set optimizer.rank: unknown key"),
        (["--vary", "optimizer.lr=1,2", "--threads", "100000"], "--threads 100000: must be from 1 to"),
        (["--set", "optimizer.lr=1"], "nothing varies"),
        (["--file", "empty.cfg"], "empty.cfg: the grid is empty"),
        (["--file", "list.cfg"], "list.cfg:2: optimizer.lr: the grid is empty"),
    ])
    func badGridsAreErrorsBeforeAnyRun(_ arguments: [String], _ message: String) throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            try Data().write(to: folder.appending(path: "empty.cfg"))
            try Data("adamw:\n  optimizer.lr: []\n".utf8).write(to: folder.appending(path: "list.cfg"))
            let command = try run(program, ["sweep", "--config", "run.cfg", "--out", "sweep"] + arguments, in: folder)
            #expect(command.status == 64)
            #expect(command.errorOutput.contains(message), "\(command.errorOutput)")
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/sweep"))
        }
    }

    @Test func aFolderWithOtherRunsIsRefused() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            #expect(try sweep("--vary", "optimizer.lr=1e-2", in: folder).status == 0)
            // Memory, not numbers.
            #expect(try sweep("--vary", "optimizer.lr=1e-2", "--set", "training.recompute=mlp", in: folder).status == 0)
            try prepare(folder, steps: 30)
            let command = try sweep("--vary", "optimizer.lr=1e-2", in: folder)
            #expect(command.status == 64)
            #expect(command.errorOutput.contains("other settings: training.steps was 20 and is now 30"))
        }
    }
}
