import Console
import Foundation

/// The newest rows of a run's log, whatever its size, by column.
struct LogTail {
    let rows: [[String: Double]]

    init(_ run: String) {
        guard let file = FileHandle(forReadingAtPath: run + "/log.csv") else {
            rows = []
            return
        }
        defer { try? file.close() }
        func lines(_ data: Data?) -> [[Substring]] {
            String(decoding: data ?? Data(), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
                .map { $0.split(separator: ",", omittingEmptySubsequences: false) }
        }
        let header = lines(try? file.read(upToCount: 4096)).first ?? []
        let length = (try? file.seekToEnd()) ?? 0
        try? file.seek(toOffset: length - min(length, 8192))
        // The last is being written; the first may be half a row, or the header.
        rows = lines(try? file.readToEnd()).dropLast().filter { $0.count == header.count }.compactMap { fields in
            let values = zip(header, fields).compactMap { name, text in Double(text).map { (String(name), $0) } }
            return values.isEmpty ? nil : Dictionary(values) { first, _ in first }
        }
    }

    var last: [String: Double]? { rows.last }

    func mean(_ column: String) -> Double? {
        let values = rows.compactMap { $0[column] }
        return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    /// A row of a table of runs under way.
    func cells(name: String, steps: Int, stepsBefore: Int = 0) -> [String] {
        let step = last?["step"].map { Int($0) } ?? stepsBefore
        let left = mean("step_seconds").map { Format.duration($0 * Double(steps - step)) + " left" }
        return [
            name, "step \(step)/\(steps)", last?["train_loss"].map { "train loss \(nats($0))" } ?? "starting",
            last?["tokens_per_second"].map { Format.rate($0) + " tokens/s" } ?? "", left ?? "",
        ]
    }
}
