import Comparison
import Console
import Files
import Foundation
import FoundationXML
import Machine
import TestSupport
import Testing

@Suite struct ComparisonTests {
    /// One run for each final loss, its seed counted from 1.
    private func runs(
        _ optimizer: String, lr: Double = 1e-3, _ losses: [Double], change: (inout SyntheticRun) -> Void = { _ in }
    ) -> [SyntheticRun] {
        losses.enumerated().map { index, loss in
            var run = SyntheticRun("\(optimizer)-\(lr)-\(index + 1)", loss: falling(to: loss))
            (run.optimizer, run.lr, run.seed) = (optimizer, lr, index + 1)
            change(&run)
            return run
        }
    }

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
            #expect(error.message.contains("muon-0.001-1 is not finished: 57 of 100 steps"))
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
                with: "batch_size: 8, micro_batch_size: 2, threads: 2, recompute: mlp, optimizer_scratch_mib: 1")
            try Data(text.utf8).write(to: file)
            let comparison = try Comparison(findRuns(paths))
            #expect(comparison.best.first?.losses.count == 2)
            #expect(comparison.notes.contains { $0.contains("training.threads differs (0, 2)") })
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
            #expect(notices.count == 1 && notices[0].contains("adamw-0.001-1: an older version began it"))
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

    @Test func targetIsReachedBetweenValidations() throws {
        // The loss falls by 0.02 a step from 5.5 to 3.5; validations every 10 steps.
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.3])) { runs, _ in
            let comparison = try Comparison(runs)
            #expect(comparison.target?.loss == 3.5)
            #expect(comparison.text.contains(/muon +1 of 1 +90 +23\.0 K/))
            let crossing = try #require(TargetCrossing(runs[0].log.validations, loss: 4.05))
            #expect(abs(crossing.step - 72.5) < 1e-9)
            #expect(abs(crossing.tokens - 72.5 * 256) < 1e-6)
            #expect(abs(crossing.seconds - 36.25) < 1e-9)
            #expect(TargetCrossing(runs[0].log.validations, loss: 3.49) == nil)
            #expect(try Comparison(runs, targetLoss: 1).text.contains(/adamw +0 of 1 +- +- +-/))
        }
    }

    // MARK: Speed-up

    private let law = { (tokens: Double) in 40 * pow(tokens, -0.3) + 2 }

    /// AdamW of 100 ... 1600 steps on the law, and Muon of 100 steps with the loss of 140.
    private var lengths: [SyntheticRun] {
        [100, 200, 400, 800, 1600].map { steps in
            var run = SyntheticRun("adamw-\(steps)", loss: falling(to: law(Double(steps * 256)), steps: steps))
            (run.steps, run.seed) = (steps, 1)
            return run
        }
    }

    @Test func speedUpComesFromFinalLossesOfSeveralLengths() throws {
        let muon = runs("muon", [law(140 * 256)])
        try withRuns(Array(lengths.prefix(1)) + muon + lengths.dropFirst()) { runs, _ in
            let comparison = try Comparison(Array(runs.prefix(2)), adamwRuns: Array(runs.dropFirst(2)))
            let estimate = try #require(comparison.speedUp?.estimates.first)
            #expect(estimate.optimizer == "muon")
            #expect(abs((estimate.ratio ?? 0) - 1.4) < 1e-3)
            #expect(abs((estimate.range?.lowerBound ?? 0) - 1.4) < 1e-2)
            #expect(!estimate.isExtrapolated)
            #expect(comparison.text.contains(/muon .* 1\.40 +1\.40 to 1\.40/))
        }
    }

    @Test func lossesInTheMiddleOfARunAreNoPoints() throws {
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.4])) { runs, _ in
            let speedUp = try #require(try Comparison(runs).speedUp)
            #expect(speedUp.fit == nil)
            #expect(speedUp.points.count == 1)
            #expect(try #require(speedUp.problem).contains("before the learning rate has come down"))
        }
    }

    @Test func aConstantLearningRateMakesEveryValidationAPoint() throws {
        var adamw = SyntheticRun("adamw", loss: { [law] in law(Double($0 * 256)) })
        adamw.schedule = "{name: constant, warmup: 10}"
        var muon = SyntheticRun("muon", loss: { [law] in law(Double($0 * 256) * 1.25) })
        (muon.schedule, muon.optimizer) = (adamw.schedule, "muon")
        try withRuns([adamw, muon]) { runs, _ in
            let speedUp = try #require(try Comparison(runs).speedUp)
            #expect(speedUp.points.map(\.tokens) == (3...10).map { Double($0 * 2560) })
            #expect(abs((speedUp.estimates.first?.ratio ?? 0) - 1.25) < 1e-3)
            #expect(speedUp.estimates.first?.isExtrapolated == true)
        }
    }

    @Test func runsOfTheFitMustBeAdamWsAndAlike() throws {
        var other = SyntheticRun("other", loss: falling(to: 3))
        other.batchSize = 16
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.4]) + [other]) { runs, _ in
            let pair = Array(runs.prefix(2))
            let batch = try #require(throws: UserError.self) { try Comparison(pair, adamwRuns: [runs[2]]) }
            #expect(batch.message.contains("training.batch_size is 16"))
            let optimizer = try #require(throws: UserError.self) { try Comparison(pair, adamwRuns: [runs[1]]) }
            #expect(optimizer.message.contains("its optimizer is muon"))
        }
    }

    // MARK: Output

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

    @Test func reportIsOneWellFormedPageWithThePlots() throws {
        let all =
            runs("adamw", lr: 1e-3, [3.5, 3.6]) + runs("adamw", lr: 2e-3, [3.4, 3.5]) + runs("muon", [3.4, 3.3])
        try withRuns(all) { runs, folder in
            let comparison = try Comparison(runs)
            #expect(comparison.plots.map(\.name) == ["loss-tokens", "loss-time", "loss-lr", "memory-loss"])
            for plot in comparison.plots {
                #expect(!plot.svg.contains("nan"))
                #expect(XMLParser(data: Data(plot.svg.utf8)).parse(), "\(plot.name) is not well formed")
            }
            let page = comparison.report(title: "a < b", provenance: Provenance(commit: "abc", threads: 1))
            #expect(page.contains("<title>a &lt; b</title>"))
            #expect(page.components(separatedBy: "<svg").count == 5)
            #expect(!page.contains("src="))
            #expect(!page.contains("href="))
            #expect(page.contains("<th class=\"words\">setting</th><th>muon</th><th>adamw</th>"))
            for row in ["optimizer.lr</td><td>0.001</td><td>0.002<", "optimizer.betas</td><td>-</td><td>["] {
                #expect(page.contains(row), "\(page) lacks \(row)")
            }
        }
    }

    // MARK: Folders

    @Test func runsAreFoundInFolders() throws {
        try withTemporaryFolder { folder in
            for run in runs("adamw", [3.5, 3.6]) { try run.write(in: folder) }
            try FileManager.default.copyItem(
                atPath: folder.path + "/adamw-0.001-1", toPath: folder.path + "/adamw-0.001-1.old-1")
            let found = try findRuns([folder.path, folder.path + "/adamw-0.001-2/"])
            #expect(found.map(\.name) == ["adamw-0.001-1", "adamw-0.001-2"])
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
