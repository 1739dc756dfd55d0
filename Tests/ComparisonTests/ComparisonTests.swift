import Comparison
import Console
import Files
import Foundation
import FoundationXML
import Machine
import TestSupport
import Testing

@Suite struct ComparisonTests {
    @Test func publishedCommandsNameNoFolders() {
        #expect(
            withoutFolders("cosmos-train compare /home/me/runs/a b/c --set output.run_dir=/data/x 'it is'")
                == "cosmos-train compare a b/c --set output.run_dir=x 'it is'")
    }

    @Test func findsTheBestSettingOfEachOptimizerAndTestsTheDifferences() throws {
        let all =
            runs("adamw", lr: 1e-3, [3.50, 3.51, 3.52]) + runs("adamw", lr: 2e-3, [3.412, 3.405, 3.420])
            + runs("muon", lr: 1e-3, [3.371, 3.379, 3.366, 3.381]) + runs("soap", lr: 3e-3, [3.40, 3.41])
        try withRuns(all) { runs, _ in
            let comparison = try Comparison(runs)
            #expect(comparison.best.map(\.optimizer) == ["muon", "soap", "adamw"])
            #expect(comparison.best.map(\.learningRate) == [1e-3, 3e-3, 2e-3])
            #expect(comparison.best.map(\.losses.count) == [4, 2, 3])
            #expect(abs(comparison.best[2].losses.mean - 3.4123333333) < 1e-9)
            // scipy's p-values, 0.0019097 (muon, adamw), 0.0352098 (muon, soap), 0.3666294 (soap, adamw), by Holm.
            let p = Dictionary(
                uniqueKeysWithValues: comparison.tests.map { ("\($0.first) \($0.second)", $0.adjustedP ?? -1) })
            #expect(abs((p["muon adamw"] ?? -1) - 3 * 0.0019097221357602943) < 1e-9)
            #expect(abs((p["muon soap"] ?? -1) - 2 * 0.03520976639066163) < 1e-9)
            #expect(abs((p["soap adamw"] ?? -1) - 0.36662935584013673) < 1e-9)
            let text = comparison.text
            #expect(text.contains(/muon +adamw +-0\.0381 .* 0\.0057 +significant/))
            #expect(text.contains(/soap +adamw .* 0\.3666 +not significant/))
            #expect(text.contains("No significant difference between muon and soap"))
            #expect(text.contains(/1 +muon +0\.001 +3\.3742 +0\.0070 +4 +29\.20\s/))
            #expect(text.contains("the best learning rate of adamw, 0.002, is the highest that was tried"))
        }
    }

    @Test func oneSeedAllowsNoTest() throws {
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.4])) { runs, _ in
            let text = try Comparison(runs).text
            #expect(text.contains("no test is possible with one seed"))
            #expect(text.contains(/1 +muon +0\.001 +3\.4000 +- +1\s/))
        }
    }

    /// Measured quantities come from the log and the configuration.
    @Test func readsCostsFromTheRun() throws {
        try withRuns(runs("adamw", [3.5])) { runs, _ in
            let run = try #require(runs.first)
            #expect(run.optimizerSecondsPerStep == 0.125)
            #expect(abs(run.tokensPerSecond - 512) < 1e-9)
            // AdamW keeps two moments of every scalar: 2 x 4 bytes.
            let block = 4 * 32 * 32 + 3 * 32 * 48 + 2 * 32
            #expect(run.stateBytes == 8 * (2 * 32 * 32 + 2 * block + 32))
        }
    }

    @Test func unfinishedRunsAreNotRanked() throws {
        let all = runs("adamw", [3.5]) + runs("muon", [3.4]) { $0.rows = 57 }
        try withRuns(all) { runs, _ in
            let error = try #require(throws: UserError.self) { try Comparison(runs) }
            #expect(error.kind == .data)
            #expect(error.message.contains("muon-0.001-1 is not finished: its log has 57 of 100 steps"))
            let forced = try Comparison(runs, force: true)
            #expect(forced.best.isEmpty)
            #expect(forced.tests.isEmpty)
            #expect(forced.text.contains("Not ranked"))
            #expect(forced.text.contains(/muon-0\.001-1 +muon +0\.001 +1 +unfinished +57\/100/))
        }
    }

    @Test(arguments: [
        ("training.batch_size", "16"), ("tokens of the whole run", "51200"), ("evaluation.tokens", "5000"),
        ("data.train", "other.bin"), ("model.hidden_size", "64"),
    ])
    func whatDiffersIsNamed(_ key: String, _ value: String) throws {
        try withTemporaryFolder { folder in
            let first = SyntheticRun("a", loss: falling(to: 3))
            var second = SyntheticRun("b", loss: falling(to: 3))
            second.optimizer = "muon"
            switch key {
            case "training.batch_size": second.batchSize = 16
            case "tokens of the whole run": (second.steps, second.loss) = (200, falling(to: 3, steps: 200))
            default: break
            }
            let paths = try [first.write(in: folder), second.write(in: folder)]
            let file = folder.appending(path: "b/config.resolved.cfg")
            var text = try String(contentsOf: file, encoding: .utf8)
            switch key {
            case "evaluation.tokens": text.replace("every: 10", with: "every: 10, tokens: 5000")
            case "data.train": text.replace("train: train.bin", with: "train: other.bin")
            case "model.hidden_size": text.replace("hidden_size: 32", with: "hidden_size: 64")
            default: break
            }
            try Data(text.utf8).write(to: file)
            let error = try #require(throws: UserError.self) { try Comparison(findRuns(paths)) }
            #expect(error.message.contains("\(key) differs: "), "\(error.message)")
            #expect(error.message.contains("\(value) in \(relativePath(paths[1]))"), "\(error.message)")
        }
    }

    /// Seeds, threads and the way of naming the data change no number.
    @Test func harmlessDifferencesAreNoObstacle() throws {
        try withTemporaryFolder { folder in
            let paths = try runs("adamw", [3.5, 3.6]).map { try $0.write(in: folder) }
            let file = URL(filePath: paths[1]).appending(path: "config.resolved.cfg")
            var text = try String(contentsOf: file, encoding: .utf8)
            let here = FileManager.default.currentDirectoryPath
            text.replace("train: train.bin", with: "train: \(here)/train.bin")
            text.replace(
                "batch_size: 8",
                with:
                    "batch_size: 8, micro_batch_size: 2, gradient_lanes: 2, threads: 2, recompute: mlp, optimizer_scratch_mib: 1"
            )
            try Data(text.utf8).write(to: file)
            let comparison = try Comparison(findRuns(paths))
            #expect(comparison.best.first?.losses.count == 2)
            #expect(comparison.notes.contains { $0.contains("training.threads differs (0, 2)") })
        }
    }

    @Test func saysHowManyRunsSharedTheirMachine() throws {
        func event(_ kind: String, minute: Int, _ host: String) -> String {
            let made = #"""
                , "madeBy": {"program": "", "commit": "", "build": "", "command": "", "host": "\#(host)", "cpu": "", "cores": 4,
                "threads": 1, "openBLAS": "", "lapacke": "", "oneDNN": ""}
                """#
            return #"{"kind": "\#(kind)", "step": 1, "time": "2026-01-01T00:0\#(minute):00Z"\#(kind == "resume" ? made : "")}"#
        }
        var all = runs("adamw", [3.5, 3.51, 3.52, 3.53])
        // The third begins where the second ends, the fourth is elsewhere.
        for (index, (start, end, host)) in [(1, 3, "a"), (2, 4, "a"), (4, 5, "a"), (2, 4, "b")].enumerated() {
            all[index].events = [event("resume", minute: start, host), event("finish", minute: end, host)]
        }
        try withRuns(all) { runs, _ in
            let notes = try Comparison(runs).notes
            #expect(notes.contains { $0.hasPrefix("2 of the 4 runs were under way at the same time") }, "\(notes)")
        }
    }

    @Test func theSameRunTwiceIsNoSecondSeed() throws {
        var copy = SyntheticRun("copy", loss: falling(to: 3.5))
        copy.seed = 1
        try withRuns(runs("adamw", [3.5]) + [copy]) { runs, _ in
            let error = try #require(throws: UserError.self) { try Comparison(runs) }
            #expect(error.message.contains("the same settings and seeds"))
        }
    }

    @Test func divergedSettingsCannotBeTheBest() throws {
        let failure = "2026-01-01T00:00:00Z  error: step 41: model.norm.weight\n2026-01-01T00:00:00Z  hint: lower it\n"
        let all =
            runs("adamw", lr: 1e-3, [3.5, 3.6]) + runs("adamw", lr: 2e-3, [3.1]) { $0.seed = 1 }
            + runs("adamw", lr: 2e-3, [0, 3.1]).suffix(1).map {
                var run = $0
                (run.rows, run.trainLog) = (40, failure)
                return run
            }
            + runs("muon", lr: 9, [3.2]) { $0.loss = { $0 > 70 ? .nan : 3.2 } }
        try withRuns(all) { runs, _ in
            #expect(runs[3].state == .diverged(step: 41))
            #expect(runs[4].state == .diverged(step: 71))
            let comparison = try Comparison(runs)
            #expect(comparison.best.map(\.learningRate) == [1e-3])
            #expect(comparison.notes.contains { $0.contains("lr 0.002 diverged in 1 of 2 runs") })
            #expect(
                comparison.caveats.contains(
                    "muon has no place in the ranking: it has no setting without a diverged run"))
        }
    }

    /// A run of two optimizers is of neither, whatever its configuration says in the end.
    @Test func aRunThatChangedOnTheWayIsListedWithoutARank() throws {
        let change = { (step: Int, isUndone: Bool) in
            """
            {"kind": "resume", "step": \(step), "time": "2026-01-02T00:00:00Z", "isUndone": \(isUndone), "changes": [
            {"setting": "optimizer.name", "old": "adamw", "new": "muon"},
            {"setting": "optimizer.momentum", "old": "absent", "new": "0.95"},
            {"setting": "optimizer.lr", "old": "0.002", "new": "0.001"}]}
            """
        }
        let all =
            runs("adamw", [3.5])
            + runs("muon", [3.4, 3.3, 3.2, 3.1, 3.0]).enumerated().map { index, run in
                var run = run
                // One is pure, one changed before its first step, one took the change back.
                run.events =
                    [[], [change(15, false)], [change(0, false)], [change(15, true)], [change(15, false)]][index]
                return run
            }
        try withRuns(all) { runs, _ in
            let comparison = try Comparison(runs)
            #expect(comparison.best.map(\.optimizer) == ["muon", "adamw"])
            #expect(comparison.best[0].losses.values.sorted() == [3.1, 3.2, 3.4])
            let changed = "after step 15 optimizer.name adamw -> muon, optimizer.lr 0.002 -> 0.001"
            let remarks = comparison.caveats.filter {
                $0.hasSuffix("muon-0.001-2 gets no rank, for it is not of one setting: \(changed)")
            }
            #expect(remarks.count == 1, "\(comparison.caveats)")
            #expect(comparison.text.contains(/muon +0\.001 +changed on the way +3\.1500/))
            let page = comparison.report(title: "", provenance: Provenance(commit: "abc", threads: 1))
            #expect(page.contains("after step 15 optimizer.name adamw -&gt; muon"))
            #expect(try Comparison(runs, force: true).best.count == 2)

            let alone = try #require(throws: UserError.self) { try Comparison([runs[2]]) }
            #expect(alone.message.contains(changed), "\(alone.message)")
            let fit = try #require(throws: UserError.self) { try Comparison([runs[0]], adamwRuns: [runs[2]]) }
            #expect(fit.kind == .data)
        }
    }

    @Test func runsOfOlderVersionsAreRankedWithANotice() throws {
        try withRuns(runs("adamw", [3.5]) { $0.events = nil } + runs("muon", [3.4])) { runs, _ in
            let comparison = try Comparison(runs)
            #expect(comparison.best.count == 2)
            let notices = comparison.caveats.filter {
                $0.contains("whether settings changed on the way is not known of")
            }
            #expect(notices.count == 1 && notices[0].contains("adamw-0.001-1: there is no whole history.json"))
        }
    }

    /// Another program may have made other numbers, of other runs or of the second half of one.
    @Test func runsOfSeveralProgramsAreNamed() throws {
        func event(_ kind: String, _ step: Int, _ commit: String) -> String {
            let made = Provenance(commit: commit, threads: 1)
            let text = String(decoding: (try? JSONEncoder().encode(made)) ?? Data(), as: UTF8.self)
            return #"{"kind": "\#(kind)", "step": \#(step), "time": "2026-01-01T00:00:00Z", "madeBy": \#(text)}"#
        }
        for (commits, isSaid) in [(["a", "a"], false), (["a", "b"], true)] {
            let events = [event("start", 0, commits[0]), event("resume", 50, commits[1])]
            try withRuns(runs("adamw", [3.5]) { $0.events = events }) { runs, _ in
                let notes = try Comparison(runs).notes.filter { $0.contains("made alike (commit: a or b)") }
                #expect(notes.isEmpty != isSaid)
            }
        }
    }

    /// What weakens a ranking is read with it, not far below.
    @Test func caveatsStandBesideTheRanking() throws {
        let all =
            runs("adamw", lr: 1e-3, [3.5]) + runs("adamw", lr: 2e-3, [3.4])
            + runs("muon", lr: 1e-3, [3.3]) { $0.extra = ", adam: {lr: 0.004}" }
            + runs("cosmos", lr: 1e-3, [3.2]) { $0.extra = ", gamma: 0.25, weight_decay: 0.1" }
        try withRuns(all) { runs, _ in
            let comparison = try Comparison(runs)
            let page = comparison.report(title: "", provenance: Provenance(commit: "abc", threads: 1))
            for (text, end) in [
                (comparison.text, "Differences of the mean"), (comparison.markdown, "### Differences"), (page, "<svg"),
            ] {
                let words = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
                let beside = words[..<(try #require(words.range(of: end)).lowerBound)]
                for caveat in [
                    "best learning rate of adamw, 0.002, is the highest that was tried",
                    "weight_decay (cosmos 0.1, muon 0.0, adamw 0.01)",
                    "adam.lr (cosmos 0.002, muon 0.004)", "adamw has one lr for all parameters",
                ] {
                    #expect(beside.contains(caveat), "\(beside) lacks \(caveat)")
                }
            }
        }
    }

    @Test func variantsOfAnOptimizerAreRankedEachByItself() throws {
        let all =
            runs("adamw", [3.5, 3.51]) + runs("muon", lr: 1e-3, [3.45, 3.46]) { $0.extra = ", scale: original" }
            + runs("adamw", lr: 2e-3, [3.4, 3.41]) { $0.extra = ", adam: {lr: 0.004}" }
            + runs("muon", lr: 2e-3, [3.3, 3.31]) { $0.extra = ", scale: match_rms_adamw" }
        try withRuns(all) { runs, _ in
            #expect(try Comparison(runs).best.map(\.optimizer) == ["muon", "adamw"])
            let told = try tellApart(runs, by: ["optimizer.scale", "optimizer.adam.lr"])
            // All of Muon's runs have the same adam.lr: it tells none apart.
            #expect(
                try Comparison(told).best.map(\.optimizer)
                    == ["muon scale=match_rms_adamw", "adamw adam.lr=0.004", "muon scale=original", "adamw"])
            #expect(throws: UserError.self) { try tellApart(runs, by: ["optimizer.rank"]) }
        }
    }

    @Test func otherVariedSettingsAreNamed() throws {
        let all =
            runs("adamw", [3.5]) { $0.extra = ", weight_decay: 0.1" }
            + runs("adamw", [3.4]) { ($0.name, $0.extra) = ("b", ", weight_decay: 0.2") }
        try withRuns(all) { runs, _ in
            let comparison = try Comparison(runs)
            #expect(comparison.settings.map(\.label) == ["weight_decay=0.1", "weight_decay=0.2"])
            #expect(comparison.best.map(\.label) == ["weight_decay=0.2"])
        }
        let sections =
            runs("adamw", [3.5]) + runs("adamw", [3.4]) { ($0.name, $0.extra) = ("b", ", adam: {lr: 0.004}") }
        try withRuns(sections) { runs, _ in
            let comparison = try Comparison(runs)
            #expect(comparison.settings.map(\.label).contains("adam=null"))
            #expect(comparison.best.allSatisfy { $0.label.contains("adam.lr=0.004") })
            #expect(!comparison.text.contains("one lr for all parameters"))
        }
    }

}
