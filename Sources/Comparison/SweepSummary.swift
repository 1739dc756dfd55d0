import Checkpoints
import Files
import Foundation

/// `summary.csv` of a sweep's folder: a line for each run of the plan, and for those that earlier plans made
/// there. The shards of a sweep write it in turn.
struct SweepSummary {
    private let plan: SweepPlan
    private let path: String
    /// Lines of other plans, and of the plan's other shards, as they were at the start.
    private let earlier: [Row]

    typealias Row = [String: String]
    typealias Entry = (run: SweepPlan.Run, state: Sweep.State, record: RunRecord?, message: String)

    static let name = "summary.csv"

    /// Reads what is there. Runs whose folders were removed are forgotten.
    init(of plan: SweepPlan) throws {
        self.plan = plan
        path = plan.folder + "/" + Self.name
        earlier = Self.others(plan)
    }

    /// The lines that are not of the plan's own runs.
    private static func others(_ plan: SweepPlan) -> [Row] {
        let names = Set(plan.runs.map(\.name))
        // A run that an earlier plan never began was given up when another plan took its place.
        let withoutFolder = ["failed"] + (plan.isShard ? ["planned", "running"] : [])
        let rows = sweepRows(plan.folder).filter { row in
            let isMade = row["run"].map { RunFolder.holdsRun(Files.path(of: $0, in: plan.folder)) } ?? false
            return !names.contains(row["run"] ?? "") && (isMade || withoutFolder.contains(row["state"] ?? ""))
        }
        // Nothing runs in a folder that nobody else holds.
        return plan.isShard
            ? rows : rows.map { $0["state"] == "running" ? $0.merging(["state": "stopped"]) { $1 } : $0 }
    }

    func write(_ runs: [Entry]) throws {
        let turn = plan.isShard ? try FolderLock(plan.folder + "/output", option: "--out", .inTurn) : nil
        defer { withExtendedLifetime(turn) {} }
        let earlier = plan.isShard ? Self.others(plan) : earlier
        let known = Set(earlier.compactMap { $0["run"] } + runs.map(\.run.name))
        let runs = runs + plan.allRuns.filter { !known.contains($0.name) }.map { ($0, .planned, nil, "") }
        let fixed = ["optimizer.name", "training.seed", "data.seed"]
        let others = earlier.flatMap { $0.keys.filter { $0.contains(".") }.sorted() }
        let keys = (["optimizer.lr"] + plan.keys + others).unique.filter { !fixed.contains($0) }
        let columns =
            ["run", "state", "optimizer", "seed"] + keys
            + [
                "step", "steps", "tokens", "train_loss", "validation_loss", "perplexity", "training_seconds",
                "tokens_per_second", "optimizer_seconds_per_step", "state_bytes", "peak_rss_bytes", "program",
                "commit", "message",
            ]
        let rows = runs.map { run, state, record, message -> [String] in
            let configuration = run.configuration
            let byKey = Dictionary(uniqueKeysWithValues: configuration.values.map { ($0.key, $0.value) })
            let loss = record?.finalLoss
            func text<Value>(_ value: Value?) -> String { value.map { "\($0)" } ?? "" }
            return [run.name, state.rawValue, configuration.optimizer.name, configuration.seeds]
                + keys.map { byKey[$0] ?? "" }
                + [
                    text(record?.log.lastStep), "\(configuration.steps)", text(record?.log.lastTokens),
                    text(record?.log.lastTrainLoss), text(loss), text(loss.map { exp($0) }), text(record?.log.seconds),
                    text(record?.tokensPerSecond), text(record?.optimizerSecondsPerStep), text(record?.stateBytes),
                    text(record?.log.peakRSSBytes), text(record?.history.madeBy?.program),
                    text(record?.history.madeBy?.commit), message,
                ]
        }
        let kept = earlier.map { row in columns.map { row[$0] ?? "" } }
        // In the order of the plan, whoever writes.
        let place = Dictionary(uniqueKeysWithValues: zip(plan.allRuns.map(\.name), 0...))
        let lines = (kept + rows).enumerated().sorted {
            (place[$0.element[0]] ?? -1, $0.offset) < (place[$1.element[0]] ?? -1, $1.offset)
        }
        try AtomicFile.write(csvText([columns] + lines.map(\.element)), to: path)
    }
}

/// The lines of a folder's `summary.csv` by column; none where the folder is no sweep's.
func sweepRows(_ folder: String) -> [[String: String]] {
    guard let data = FileManager.default.contents(atPath: folder + "/" + SweepSummary.name) else { return [] }
    let rows = csvRows(String(decoding: data, as: UTF8.self))
    guard let header = rows.first, header.prefix(2) == ["run", "state"] else { return [] }
    return rows.dropFirst().map { Dictionary(zip(header, $0)) { first, _ in first } }
}

/// What is missing of the sweep in a folder: runs of its `summary.csv` that have no folder yet. Nil where
/// nothing is, or the folder is no sweep's.
public func unfinishedSweep(_ folder: String) -> String? {
    let rows = sweepRows(folder)
    let missing = rows.filter { !RunFolder.holdsRun(path(of: $0["run"] ?? "", in: folder)) }
    guard !missing.isEmpty else { return nil }
    return "\(missing.count) of the \(rows.count) runs of the sweep \(folder) are missing: "
        + abridged(missing.map { "\($0["run"] ?? "") (\($0["state"] ?? ""))" })
}
