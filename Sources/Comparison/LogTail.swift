import Checkpoints
import Console
import Foundation

/// The newest rows of a run's log, whatever its size, by column.
struct LogTail {
    let rows: [[String: Double]]

    init(_ run: String) {
        let path = run + "/" + RunFolder.logName
        let header = excerpt(of: path).prefix { $0 != "\n" }.split(separator: ",")
        rows = lastLines(of: path).compactMap { line in
            let fields = line.split(separator: ",", omittingEmptySubsequences: false)
            // The first may be half a row, or the header.
            guard fields.count == header.count, let step = Int(fields[0]), (0...1 << 48).contains(step) else {
                return nil
            }
            let values = zip(header, fields).compactMap { name, text in Double(text).map { (String(name), $0) } }
            return Dictionary(values) { first, _ in first }
        }
    }

    var last: [String: Double]? { rows.last }

    func mean(_ column: String) -> Double? {
        let values = rows.compactMap { $0[column] }
        return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    /// A row of a table of runs under way.
    func cells(name: String, steps: Int) -> [String] {
        let step = last?["step"].map { Int($0) } ?? 0
        let left = mean("step_seconds").map { Format.duration($0 * Double(max(0, steps - step))) + " left" }
        return [
            name, "step \(step)/\(steps)", last?["train_loss"].map { "train loss \(nats($0))" } ?? "starting",
            last?["tokens_per_second"].map { Format.rate($0) + " tokens/s" } ?? "", left ?? "",
        ]
    }
}
