import Console
import Files
import Foundation

/// What a run's `log.csv` says in all, and its validation losses.
public struct RunLogSummary: Sendable {
    public struct Point: Equatable, Sendable {
        public let step: Int
        public let tokens: Int
        /// Seconds of training steps so far; validation and checkpoints do not count. Steps that are missing from the
        /// log count as much as the others do on average.
        public let seconds: Double
        /// In nats.
        public let loss: Double
    }

    public private(set) var lastStep = 0
    /// Steps before the first row: the log was lost, and began anew when the run was resumed.
    public private(set) var missingSteps = 0
    public let isMissing: Bool
    public private(set) var lastTokens = 0
    public private(set) var lastTrainLoss: Double?
    public private(set) var seconds = 0.0
    public private(set) var optimizerSeconds = 0.0
    public private(set) var peakRSSBytes = 0
    public private(set) var validations: [Point] = []
    private var trainLosses = MeanHistory(capacity: 200)
    /// Of parts of the run, with the tokens seen in their middles.
    public var trainCurve: [(tokens: Double, loss: Double)] {
        let tokensPerStep = Double(lastTokens) / Double(max(1, lastStep))
        return trainLosses.means.enumerated().map { part, loss in
            let first = missingSteps + part * trainLosses.length
            return (tokensPerStep * Double(first + 1 + min(lastStep, first + trainLosses.length)) / 2, loss)
        }
    }
    public private(set) var firstBadStep: Int?

    /// Reads a log; one that is not there has no rows. Throws where the file can't be read, or a line is not a log's.
    public init(path: String) throws {
        isMissing = access(path, F_OK) != 0 && errno == ENOENT
        if isMissing { return }
        // What lies beyond is no number of anything, and sums of it would overflow.
        let (counts, times) = (0...1 << 48, 0...1e12)
        try readLog(path, columns: Self.columns) { fields, damaged in
            guard let step = Int(fields[0]), step == lastStep + 1 || (lastStep == 0 && step > 1),
                let tokens = Int(fields[1]), let trainLoss = Double(fields[2]), let stepSeconds = Double(fields[4]),
                let optimizerSeconds = Double(fields[5]), let peak = Int(fields[6]),
                [step, tokens, peak].allSatisfy(counts.contains),
                [stepSeconds, optimizerSeconds].allSatisfy(times.contains)
            else { throw damaged("this is not the row of step \(lastStep + 1)") }
            if lastStep == 0 { missingSteps = step - 1 }
            lastStep = step
            lastTokens = tokens
            lastTrainLoss = trainLoss
            trainLosses.append(trainLoss)
            seconds += stepSeconds
            self.optimizerSeconds += optimizerSeconds
            peakRSSBytes = max(peakRSSBytes, peak)
            if !fields[3].isEmpty {
                guard let loss = Double(fields[3]) else {
                    throw damaged("the validation loss \(fields[3]) is not a number")
                }
                validations.append(Point(step: step, tokens: tokens, seconds: seconds, loss: loss))
            }
            if firstBadStep == nil, !trainLoss.isFinite || validations.last?.loss.isFinite == false {
                firstBadStep = step
            }
        }
        guard missingSteps > 0, lastStep > missingSteps else { return }
        let share = Double(missingSteps) / Double(lastStep - missingSteps)
        let missingSeconds = seconds * share
        seconds += missingSeconds
        optimizerSeconds *= 1 + share
        validations = validations.map {
            Point(step: $0.step, tokens: $0.tokens, seconds: $0.seconds + missingSeconds, loss: $0.loss)
        }
    }

    /// What a reader of this log's numbers should know.
    func caveat(_ run: String) -> String? {
        if missingSteps == 0 { return nil }
        return
            "the log of \(run) was lost up to step \(missingSteps): the times of these steps are taken to be those of "
            + "the others on average, and their validations are missing"
    }

    private static let columns = [
        "step", "tokens", "train_loss", "validation_loss", "step_seconds", "optimizer_seconds", "peak_rss_bytes",
    ]
}

/// Hands on the rows of a run's log: the values of `columns`, which are found by their names, and what makes an
/// error about the line. A last line that is being written, or that a killed process left unfinished, does not count.
func readLog(
    _ path: String, columns: [String], row: (_ fields: [String], _ damaged: (String) -> UserError) throws -> Void
) throws {
    let data = try RegularFile.contents(of: path, limit: .max)
    let newline = UInt8(ascii: "\n")
    guard let whole = data.lastIndex(of: newline) else { return }
    var places: [Int] = []
    for (index, line) in data[..<whole].split(separator: newline, omittingEmptySubsequences: false).enumerated() {
        let fields = line.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        func text(_ column: Int) -> String { String(decoding: fields[column], as: UTF8.self) }
        func damaged(_ what: String) -> UserError {
            UserError(.data, "\(path):\(index + 1): \(what)", hint: "is it the log.csv of a run?")
        }
        if index == 0 {
            let names = fields.indices.map(text)
            places = try columns.map { name in
                guard let place = names.firstIndex(of: name) else { throw damaged("there is no column \(name)") }
                return place
            }
        } else {
            guard fields.count > places.max() ?? 0 else { throw damaged("the row is too short") }
            try row(places.map(text), damaged)
        }
    }
}
