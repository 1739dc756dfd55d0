import Checkpoints
import Files
import Foundation

/// `summary.csv` of a sweep's folder: a line for each run of the plan, and for those that earlier plans made
/// there.
struct SweepSummary {
    private let path: String
    private let keys: [String]
    /// Lines of other plans, by column.
    private let earlier: [[String: String]]

    static let name = "summary.csv"

    /// Reads what earlier plans left. Runs whose folders were removed are forgotten.
    init(of plan: SweepPlan) throws {
        path = plan.folder + "/" + Self.name
        let names = Set(plan.runs.map(\.name))
        let rows = sweepRows(plan.folder).filter { row in
            let isMade = row["run"].map { RunFolder.holdsRun(Files.path(of: $0, in: plan.folder)) } ?? false
            return !names.contains(row["run"] ?? "") && (isMade || ["planned", "failed"].contains(row["state"]))
        }
        earlier = rows.map { row in
            // Nothing runs in a folder that nobody holds.
            row["state"] == "running" ? row.merging(["state": "stopped"]) { $1 } : row
        }
        let fixed = ["optimizer.name", "training.seed", "data.seed"]
        let others = earlier.flatMap { $0.keys.filter { $0.contains(".") }.sorted() }
        keys = (["optimizer.lr"] + plan.keys + others).unique.filter { !fixed.contains($0) }
    }

    func write(_ runs: [(run: SweepPlan.Run, state: Sweep.State, record: RunRecord?, message: String)]) throws {
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
            let seed = (configuration.training.seed, configuration.data.seed)
            func text<Value>(_ value: Value?) -> String { value.map { "\($0)" } ?? "" }
            return [run.name, state.rawValue, configuration.optimizer.name]
                + [seed.0 == seed.1 ? "\(seed.0)" : "\(seed.0)/\(seed.1)"] + keys.map { byKey[$0] ?? "" }
                + [
                    text(record?.log.lastStep), "\(configuration.steps)", text(record?.log.lastTokens),
                    text(record?.log.lastTrainLoss), text(loss), text(loss.map { exp($0) }), text(record?.log.seconds),
                    text(record?.tokensPerSecond), text(record?.optimizerSecondsPerStep), text(record?.stateBytes),
                    text(record?.log.peakRSSBytes), text(record?.history?.madeBy?.program),
                    text(record?.history?.madeBy?.commit), message,
                ]
        }
        let kept = earlier.map { row in columns.map { row[$0] ?? "" } }
        let text = ([columns] + kept + rows).map { $0.map(\.csvField).joined(separator: ",") + "\n" }.joined()
        try AtomicFile.write(text, to: path)
    }
}

/// The lines of a folder's `summary.csv` by column; none where the folder is no sweep's.
private func sweepRows(_ folder: String) -> [[String: String]] {
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
