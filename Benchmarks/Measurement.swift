import Foundation
import TensorCore

/// What a task reached, beside what the machine can do.
struct Measurement: Encodable {
    let name: String
    let seconds: Double
    /// In `unit`s; nil for a task that only has a time.
    var rate: Double?
    var limit: Double?
    /// "GB/s copied" or "GFLOP/s AVX-512 FMA".
    var unit: String?
    var share: Double?

    init(_ task: MeasuredTask, seconds: Double, limit: Limit?) {
        name = task.name
        self.seconds = seconds
        guard let cost = task.cost, let limit else { return }
        let amount =
            switch cost {
            case .bytes(let count), .fp32(let count), .bf16(let count): Double(count)
            }
        rate = amount / seconds / 1e9
        self.limit = limit.rate / 1e9
        unit = limit.unit
        share = amount / seconds / limit.rate
    }

    var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return String(decoding: (try? encoder.encode(self)) ?? Data(), as: UTF8.self)
    }

    var text: String {
        let time = String(format: "%10.3f ms", seconds * 1e3)
        let start = name.padding(toLength: 40, withPad: " ", startingAt: 0) + time
        guard let rate, let limit, let unit, let share else { return start }
        return start + String(format: "%9.1f of %.1f ", rate, limit) + unit + String(format: ", %.0f %%", 100 * share)
    }
}
