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
    private let hasEnded = Atomic<Bool>(false)

    public enum Unit: Equatable, Sendable {
        case bytes
        /// Nothing but the time that goes by.
        case time
        /// A noun in the plural: "tokens".
        case items(String)
    }

    /// `total` is the size of the whole task; 0 where it is not known, and then no percentage shows.
    public init(_ label: String, total: Int = 0, unit: Unit, line: StatusLine = StatusLine()) {
        self.label = label
        self.total = total
        self.unit = unit
        self.line = line
    }

    public func advance(by count: Int) {
        let done = done.add(count, ordering: .relaxed).newValue
        if StatusLine.now() - started > 2 {
            line.show(Self.text(label, done: done, of: total, unit, seconds: StatusLine.now() - started))
        }
    }

    /// Shows by itself how the time goes by, until the end: for work that does not tell how far it is.
    public func keepShowing() {
        Thread.detachNewThread { [weak self] in
            while let self, !self.hasEnded.load(ordering: .relaxed) {
                self.advance(by: 0)
                usleep(200_000)
            }
        }
    }

    /// Ends the bar; `summary` stays on the screen.
    public func finish(_ summary: String? = nil) {
        hasEnded.store(true, ordering: .relaxed)
        line.finish(summary)
    }

    package static func text(_ label: String, done: Int, of total: Int, _ unit: Unit, seconds: Double) -> ProgressText {
        let rate = Double(done) / max(seconds, 1e-9)
        func size(_ count: Int) -> String { unit == .bytes ? Format.bytes(count) : Format.count(count) }
        if unit == .time { return ProgressText(label, elapsed: seconds) }
        var amount = total > 0 ? "\(size(done)) of \(size(total))" : size(done)
        if case .items(let noun) = unit { amount += " " + noun }
        return ProgressText(
            label, share: total > 0 ? Double(done) / Double(total) : nil,
            details: [amount, (unit == .bytes ? Format.bytes(Int(rate)) : Format.rate(rate)) + "/s"],
            left: total > 0 && done > 0 ? Double(max(0, total - done)) / rate : nil)
    }
}
