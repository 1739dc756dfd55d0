import Checkpoints
import Configuration
import Console
import Files
import Foundation
import Machine
import Training

/// A run, or a folder of runs such as a sweep's, looked at again and again while it is being made.
public final class Watch {
    private let path: String
    private let isRun: Bool
    /// Runs by folder, with the times of their files.
    private var known: [String: (written: [Date], record: RunRecord)] = [:]
    private var folders: [String] = []
    /// Why runs that have begun cannot be read, by folder.
    private var unreadable: [String: UserError] = [:]
    /// Of a sweep: how far it says that each run is.
    private var states: [[String: String]] = []

    public init(_ path: String) throws {
        self.path = path.withoutTrailingSlashes
        isRun = RunFolder.holdsRun(self.path)
        if sweepRows(self.path).isEmpty { folders = try runFolders([self.path]) }
    }

    /// Reads what is new. Returns whether something is. Throws where the one run that is watched cannot be read.
    @discardableResult
    public func look() throws -> Bool {
        let before = states
        states = isRun ? [] : sweepRows(path)
        // A sweep may have no run yet.
        folders = (try? runFolders([path])) ?? []
        var isNew = states != before
        for folder in folders {
            let written = [RunFolder.logName, RunHistory.fileName].map { time(of: folder + "/" + $0) ?? .distantPast }
            if known[folder]?.written == written { continue }
            do {
                known[folder] = (written, try RunRecord(path: folder) { _ in })
                unreadable[folder] = nil
            } catch let error as UserError {
                // A run that has just begun has no settings yet.
                guard RegularFile.exists(folder + "/" + RunFolder.configurationName) else { continue }
                if isRun { throw error }
                if unreadable[folder] == error { continue }
                (unreadable[folder], known[folder]) = (error, nil)
            }
            isNew = true
        }
        return isNew
    }

    private var runs: [RunRecord] { folders.compactMap { known[$0]?.record } }

    private var unreadableRuns: [[String]] {
        unreadable.map { [folderAndName(of: $0).name, $1.message] }.sorted { $0[0] < $1[0] }
    }

    /// Runs that the sweep has not begun.
    private var planned: [[String: String]] {
        let begun = Set(runs.map(\.name) + unreadable.keys.map { folderAndName(of: $0).name })
        return states.filter { !begun.contains($0["run"] ?? "") }
    }

    /// Whether all is made that was to be made, as far as the folder says.
    public var isOver: Bool {
        !(runs.isEmpty && unreadable.isEmpty) && runs.allSatisfy { $0.state.isEnd }
            && planned.allSatisfy { $0["state"] == "failed" }
    }

    /// The page of `compare --report`, which loads itself again while this is not over.
    public func report(provenance: Provenance) throws -> String {
        let missing = isRun ? nil : unfinishedSweep(path)
        let problems = (missing.map { [$0] } ?? []) + unreadableRuns.map { "\($0[0]) cannot be read: \($0[1])" }
        return try Comparison(runs, force: true, planProblems: problems).report(
            title: folderAndName(of: path).name, provenance: provenance, isLive: !isOver)
    }

    /// What there is to see, for a terminal.
    public func screen(width: Int) -> String {
        isRun ? runs.first.map { screen($0, width) } ?? "\(path) is about to begin" : sweepScreen
    }

    private func screen(_ run: RunRecord, _ width: Int) -> String {
        let (log, tail) = (run.log, LogTail(run.path))
        let steps = run.configuration.steps
        let perStep = tail.mean("step_seconds") ?? 0
        let spent = secondsSpent(on: run)
        var progress = ProgressText(
            "\(run.path)  \(run.optimizer)  \(stateText(run))  step \(log.lastStep)/\(steps)",
            share: Double(log.lastStep) / Double(steps), elapsed: spent)
        if !run.state.isEnd {
            progress.left = spent / Double(max(1, log.lastStep)) * Double(steps - log.lastStep)
        }
        var text = [progress.text(width: width, lines: 3), ""]
        text += TextPlot(
            curve: log.trainCurve.map { ($0.tokens, $0.loss) },
            marks: log.validations.map { (Double($0.tokens), $0.loss) },
            xLabel: { Format.rate($0) + " tokens" }
        ).lines(width: width, height: 12)
        func value(_ column: String, _ format: String) -> String {
            tail.last?[column].map { String(format: format, $0) } ?? "-"
        }
        let phases = LogRow.columns.filter { $0.hasSuffix("_seconds") && $0 != "step_seconds" }.compactMap { column in
            tail.mean(column).map {
                String(format: "%@ %.0f %%", column.replacing("_seconds", with: ""), 100 * $0 / max(perStep, 1e-9))
            }
        }
        let speed = tail.mean("tokens_per_second").map { Format.rate($0) + " tokens/s" } ?? "-"
        let mfu = tail.mean("mfu").map { String(format: ", %.0f %% MFU", 100 * $0) } ?? ""
        text += [
            "",
            aligned([
                [
                    "last step",
                    "train loss \(value("train_loss", "%.4f")), lr \(value("learning_rate", "%.3g")), gradient norm "
                        + value("gradient_norm", "%.3g"),
                ],
                ["speed", speed + mfu + ", at most \(Format.bytes(log.peakRSSBytes)) of memory"],
                ["phases", phases.joined(separator: ", ")],
            ]),
        ]
        var table = Table(title: "Last validations (o)", header: ["step", "tokens", "loss", "perplexity"])
        table.textColumns = []
        table.rows = log.validations.suffix(5).map {
            ["\($0.step)", Format.count($0.tokens), nats($0.loss), String(format: "%.2f", exp($0.loss))]
        }
        let best = log.validations.min { $0.loss < $1.loss }
        table.remarks = best.map { ["best so far: \(nats($0.loss)) after step \($0.step)"] } ?? []
        return text.joined(separator: "\n") + (best == nil ? "" : "\n\n" + table.text)
    }

    private var sweepScreen: String {
        let ended = runs.filter { $0.state.isEnd }
        let underWay = runs.filter { isUnderWay($0) }
        let others = runs.filter { !$0.state.isEnd && !isUnderWay($0) }
        // Where a run of one optimizer costs more than another's, this is rough.
        let steps = runs.reduce(0) { $0 + Double($1.log.lastStep) }
        let left =
            runs.reduce(0) { $0 + ($1.state.isEnd ? 0 : Double($1.configuration.steps - $1.log.lastStep)) }
            + planned.reduce(0) { $0 + (Double($1["steps"] ?? "") ?? 0) }
        let spent = runs.reduce(0.0) { $0 + secondsSpent(on: $1) }
        let seconds = spent * left / max(steps, 1)
        var progress = ProgressText(
            "\(path)  \(ended.count) of \(runs.count + planned.count) runs ended",
            details: ["\(underWay.count) under way"])
        if left > 0, !underWay.isEmpty { progress.left = seconds / Double(underWay.count) }
        var board = Table(
            title: "Best so far, by final validation loss",
            header: ["optimizer", "lr", "loss", "sd", "n", "runs", "diverged"])
        let settings = Comparison.settings(of: ended)
        let optimizers = (runs.map(\.optimizer) + planned.compactMap { $0["optimizer"] }).unique
        let rows = optimizers.map { optimizer -> (loss: Double, cells: [String]) in
            let own = settings.filter { $0.optimizer == optimizer }
            let all = runs.count { $0.optimizer == optimizer } + planned.count { $0["optimizer"] == optimizer }
            let diverged = own.reduce(0) { $0 + $1.divergedCount }
            let counts = [
                "\(own.reduce(0) { $0 + $1.runs.count }) of \(all)", diverged > 0 ? "\(diverged)" : "",
            ]
            guard let best = own.filter(\.isEligible).min(by: { $0.losses.mean < $1.losses.mean }) else {
                return (.infinity, [optimizer, "-", "-", "-", "-"] + counts)
            }
            let losses = best.losses
            return (
                losses.mean,
                [
                    optimizer, "\(best.learningRate) \(best.label)".trimmedAtEnd, nats(losses.mean),
                    losses.standardDeviation.map(nats) ?? "-", "\(losses.count)",
                ] + counts
            )
        }
        board.rows = rows.sorted { $0.loss < $1.loss }.map(\.cells)
        func list(_ title: String, _ rows: [[String]]) -> String? {
            rows.isEmpty
                ? nil
                : title + "\n" + aligned(rows.prefix(12).map { $0 })
                    + (rows.count > 12 ? "\nand \(rows.count - 12) more" : "") + "\n"
        }
        func place(_ run: RunRecord) -> String { "step \(run.log.lastStep)/\(run.configuration.steps)" }
        let parts: [String?] = [
            progress.text(width: .max) + "\n", board.text,
            list("Under way", underWay.map { LogTail($0.path).cells(name: $0.name, steps: $0.configuration.steps) }),
            list("Stopped", others.map { [$0.name, stateText($0), place($0)] }),
            list("Diverged", runs.filter { $0.state.name == "diverged" }.map { [$0.name, place($0)] }),
            list("Failed", states.filter { $0["state"] == "failed" }.map { [$0["run"] ?? "", $0["message"] ?? ""] }),
            list("Cannot be read", unreadableRuns),
        ]
        return parts.compactMap { $0 }.joined(separator: "\n")
    }

    /// The time that has gone into a run, validations and checkpoints included. How long a session took that was killed is
    /// not known; the steps' own seconds are the least.
    private func secondsSpent(on run: RunRecord) -> Double {
        var (total, begun) = (0.0, Date?.none)
        for event in run.history.events {
            guard let time = try? Date(event.time, strategy: .iso8601) else { continue }
            let isBeginning = event.kind == .start || event.kind == .resume
            if let begun, !isBeginning { total += time.timeIntervalSince(begun) }
            begun = isBeginning ? time : nil
        }
        if let begun, let written = time(of: run.path + "/log.csv") { total += written.timeIntervalSince(begun) }
        return max(total, run.log.seconds)
    }

    /// Whether somebody makes steps of it, as far as its files say: a process that was killed leaves no word.
    private func isUnderWay(_ run: RunRecord) -> Bool { !run.state.isEnd && stateText(run) == "running" }

    private func stateText(_ run: RunRecord) -> String {
        if run.state.isEnd { return run.state.name }
        if run.history.events.last?.kind == .stop { return "stopped" }
        let silence = -(time(of: run.path + "/" + RunFolder.logName) ?? .now).timeIntervalSinceNow
        let patience = max(300, 10 * run.log.seconds / Double(max(1, run.log.lastStep)))
        return silence < patience ? "running" : "silent for \(Format.duration(silence))"
    }
}

extension RunRecord {
    fileprivate var name: String { folderAndName(of: path).name }
}

extension RunRecord.State {
    fileprivate var isEnd: Bool { if case .unfinished = self { false } else { true } }
}

/// When a file was last written.
private func time(of path: String) -> Date? {
    (try? FileManager.default.attributesOfItem(atPath: path))?[.modificationDate] as? Date
}
