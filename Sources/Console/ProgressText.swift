import Foundation

/// What a status line says of a task, whoever does it:
///
///     step 120/5000  loss 3.456  ▇▄▂▁  12.3 K tokens/s  31 min 10 s so far  2 h 05 min left
///
/// Where there is little space, the last details go first.
public struct ProgressText {
    public var label: String
    /// Of the whole, from 0 to 1.
    public var share: Double?
    /// The most important first.
    public var details: [String]
    /// Seconds.
    public var elapsed: Double?
    public var left: Double?

    public init(
        _ label: String, share: Double? = nil, details: [String] = [], elapsed: Double? = nil, left: Double? = nil
    ) {
        (self.label, self.share, self.details, self.elapsed, self.left) = (label, share, details, elapsed, left)
    }

    /// In at most `lines` lines of `width` characters.
    public func text(width: Int = .max, lines: Int = 2) -> String {
        var details = details
        while true {
            var parts = [label] + details
            if let share { parts.insert(String(format: "%3d %%", Int(100 * min(1, share))), at: 1) }
            if let elapsed { parts.append(Format.duration(elapsed) + (left == nil ? "" : " so far")) }
            if let left { parts.append(Format.duration(left) + " left") }
            var text = [parts[0]]
            for part in parts.dropFirst() {
                if text[text.count - 1].count + 2 + part.count <= width {
                    text[text.count - 1] += "  " + part
                } else {
                    text.append(part)
                }
            }
            if text.count <= lines || details.isEmpty { return text.joined(separator: "\n") }
            details.removeLast()
        }
    }
}

/// Values in their order as the means of equally many, in few parts, however many they are.
public struct MeanHistory: Sendable {
    /// Values in a part; the last may have fewer.
    public private(set) var length = 1
    private var parts: [(sum: Double, count: Int)] = []
    private let capacity: Int

    /// Between `capacity` / 2 and `capacity` parts, once there are so many values; `capacity` is even.
    public init(capacity: Int) { self.capacity = capacity }

    public var means: [Double] { parts.map { $0.sum / Double($0.count) } }

    public mutating func append(_ value: Double) {
        if let last = parts.last, last.count < length {
            parts[parts.count - 1] = (last.sum + value, last.count + 1)
            return
        }
        if parts.count == capacity {
            parts = stride(from: 0, to: capacity, by: 2).map {
                (parts[$0].sum + parts[$0 + 1].sum, parts[$0].count + parts[$0 + 1].count)
            }
            length *= 2
        }
        parts.append((value, 1))
    }

    /// A bar a part. The first third may reach beyond the top: otherwise a curve that falls steeply at first would be flat
    /// ever after.
    public var sparkline: String {
        let means = means.filter(\.isFinite)
        let late = means.dropFirst(means.count / 3)
        guard let low = late.min(), let high = late.max() else { return "" }
        let bars = Array("▁▂▃▄▅▆▇█")
        return String(means.map { bars[Int(7 * min(1, max(0, $0 - low) / max(high - low, 1e-12)))] })
    }
}
