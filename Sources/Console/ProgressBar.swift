import Foundation
import Synchronization

/// Progress of a task of known size: "tokenizing  42 %  1.20 M of 2.86 M documents  31.4 K/s  52 s left".
/// Threads may report to one bar. Tasks shorter than two seconds show nothing.
public final class ProgressBar: Sendable {
    private let label: String
    private let total: Int
    private let unit: Unit
    private let line: StatusLine
    private let started = StatusLine.now()
    private let done = Atomic<Int>(0)

    public enum Unit: Sendable {
        case bytes
        /// A noun in the plural: "tokens".
        case items(String)
    }

    /// `total` is the size of the whole task; 0 where it is not known, and then no percentage shows.
    public init(_ label: String, total: Int, unit: Unit, line: StatusLine = StatusLine()) {
        self.label = label
        self.total = total
        self.unit = unit
        self.line = line
    }

    public func advance(by count: Int) {
        let done = done.add(count, ordering: .relaxed).newValue
        if StatusLine.now() - started > 2 { line.show(text(done)) }
    }

    /// Ends the bar; `summary` stays on the screen.
    public func finish(_ summary: String? = nil) { line.finish(summary) }

    private func text(_ done: Int) -> String {
        Self.text(label: label, done: done, total: total, unit: unit, seconds: StatusLine.now() - started)
    }

    package static func text(label: String, done: Int, total: Int, unit: Unit, seconds: Double) -> String {
        func size(_ count: Int) -> String {
            switch unit {
            case .bytes: Format.bytes(count)
            case .items: Format.count(count)
            }
        }
        let rate = Double(done) / max(seconds, 1e-9)
        var parts = [label]
        if total > 0 { parts.append(String(format: "%3d %%", Int(100 * min(1, Double(done) / Double(total))))) }
        var amount = total > 0 ? "\(size(done)) of \(size(total))" : size(done)
        if case .items(let noun) = unit { amount += " " + noun }
        parts.append(amount)
        switch unit {
        case .bytes: parts.append(Format.bytes(Int(rate)) + "/s")
        case .items: parts.append(Format.rate(rate) + "/s")
        }
        if total > 0, done > 0 { parts.append(Format.duration(Double(max(0, total - done)) / rate) + " left") }
        return parts.joined(separator: "  ")
    }
}
