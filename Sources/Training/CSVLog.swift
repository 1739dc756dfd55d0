import Configuration
import Foundation
import Glibc

/// Where the time of a step went, in seconds.
public struct StepPhases: Codable, Equatable, Sendable {
    public var data: Double
    public var forward: Double
    /// Output head and loss, forward and backward.
    public var head: Double
    public var backward: Double
    public var optimizer: Double
    /// Zeroing and clipping of gradients, and what the others leave.
    public var rest: Double

    public init(
        data: Double = 0, forward: Double = 0, head: Double = 0, backward: Double = 0, optimizer: Double = 0,
        rest: Double = 0
    ) {
        self.data = data
        self.forward = forward
        self.head = head
        self.backward = backward
        self.optimizer = optimizer
        self.rest = rest
    }

    /// By the names of reports, in order.
    var all: [(name: String, seconds: Double)] {
        [
            ("data", data), ("forward", forward), ("head and loss", head), ("backward", backward),
            ("optimizer", optimizer), ("rest", rest),
        ]
    }

    static func += (total: inout StepPhases, part: StepPhases) {
        total.data += part.data
        total.forward += part.forward
        total.head += part.head
        total.backward += part.backward
        total.optimizer += part.optimizer
        total.rest += part.rest
    }
}

/// What `log.csv` says of one optimizer step.
public struct LogRow: Codable, Equatable, Sendable {
    public var step: Int
    /// Tokens seen so far, this step's included.
    public var tokens: Int
    /// Mean over all tokens of the step, in nats.
    public var trainLoss: Double
    /// Exact mean over the validation tokens, in nats, after this step; nil where there was none.
    public var validationLoss: Double?
    public var learningRate: Double
    /// Global norm before clipping.
    public var gradientNorm: Double
    /// Wall time of the step in seconds: gradients, clipping and optimizer; not validation or checkpoints.
    public var stepSeconds: Double
    public var tokensPerSecond: Double
    /// Operations of the model's forward and backward pass (`FLOPCount`), each second of the step.
    public var flopsPerSecond: Double
    /// The same over what the CPU's multiply units do at most (`MachineLimit`).
    public var limitShare: Double
    public var phases: StepPhases
    /// The largest memory the process has had.
    public var peakRSSBytes: Int

    public init(
        step: Int, tokens: Int, trainLoss: Double, validationLoss: Double? = nil, learningRate: Double,
        gradientNorm: Double, stepSeconds: Double, tokensPerSecond: Double, flopsPerSecond: Double,
        limitShare: Double, phases: StepPhases, peakRSSBytes: Int = peakResidentBytes()
    ) {
        self.step = step
        self.tokens = tokens
        self.trainLoss = trainLoss
        self.validationLoss = validationLoss
        self.learningRate = learningRate
        self.gradientNorm = gradientNorm
        self.stepSeconds = stepSeconds
        self.tokensPerSecond = tokensPerSecond
        self.flopsPerSecond = flopsPerSecond
        self.limitShare = limitShare
        self.phases = phases
        self.peakRSSBytes = peakRSSBytes
    }

    static let columns = [
        "step", "tokens", "train_loss", "validation_loss", "validation_perplexity", "learning_rate", "gradient_norm",
        "step_seconds", "tokens_per_second", "flops_per_second", "limit_share", "data_seconds", "forward_seconds",
        "head_seconds", "backward_seconds", "optimizer_seconds", "rest_seconds", "peak_rss_bytes",
    ]

    /// The row as text. Swift writes the shortest digits that give back the same Double.
    var line: String {
        let validation = validationLoss.map { "\($0),\(exp($0))" } ?? ","
        return "\(step),\(tokens),\(trainLoss),\(validation),\(learningRate),\(gradientNorm),\(stepSeconds),"
            + "\(tokensPerSecond),\(flopsPerSecond),\(limitShare),"
            + phases.all.map { "\($0.seconds)," }.joined() + "\(peakRSSBytes)"
    }
}

/// The largest resident memory of this process so far, in bytes; 0 if the system does not say.
///
/// From /proc: getrusage's figure begins with the memory of the process that started this one.
public func peakResidentBytes() -> Int {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
        let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
        let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
    else { return 0 }
    return kibibytes * 1024
}

/// `log.csv`: a header line, then one row a step, each handed to the system as soon as it is known.
///
/// Call `synchronize` before a checkpoint is written: then the log has every row up to the checkpoint's
/// step even after a power failure, and a resumed run neither misses nor repeats one.
public final class CSVLog {
    public let path: String
    private let descriptor: Int32

    /// A new log; the file must not exist.
    public init(creating path: String) throws {
        self.path = path
        descriptor = try openOwnFile(path, O_WRONLY | O_EXCL | O_APPEND)
        try write(LogRow.columns.joined(separator: ","))
    }

    /// Continues a log after `step`, the step of the checkpoint: later rows, and a last row that a killed
    /// process left unfinished, are cut off. Throws where a row up to `step` is missing or damaged; but a log
    /// that was lost may have begun anew with any step up to the next.
    public init(resuming path: String, after step: Int) throws {
        self.path = path
        descriptor = try openOwnFile(path, O_WRONLY | O_APPEND)
        let length = try Self.lengthToKeep(path, upTo: step)
        if ftruncate(descriptor, length) != 0 { throw UserError.system("write", path, code: errno) }
    }

    deinit { close(descriptor) }

    public func append(_ row: LogRow) throws { try write(row.line) }

    /// Flushes all rows to the disk.
    public func synchronize() throws {
        if fsync(descriptor) != 0 { throw UserError.system("write", path, code: errno) }
    }

    private func write(_ line: String) throws {
        var text = line + "\n"
        try text.withUTF8 {
            try AtomicFile.write(UnsafeRawBufferPointer($0), to: descriptor, of: path, at: nil)
        }
    }

    /// The bytes of the header and of the rows up to `step`.
    private static func lengthToKeep(_ path: String, upTo step: Int) throws -> Int {
        func damaged(_ what: String) -> UserError {
            UserError(
                .data, "\(path): \(what), so the run up to step \(step) is not in it",
                hint: "move the file away to resume with a new log, or start the run anew")
        }
        let data = try RegularFile.contents(of: path, limit: .max)
        var kept = 0
        // nil: no row yet.
        var lastStep: Int?
        var number = 0
        while lastStep ?? 0 < step || number == 0, let end = data[kept...].firstIndex(of: UInt8(ascii: "\n")) {
            let fields = data[kept..<end].split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
                .map { String(decoding: $0, as: UTF8.self) }
            number += 1
            if number == 1 {
                guard fields == LogRow.columns else {
                    throw damaged("line 1 has other columns than this version writes")
                }
            } else {
                guard fields.count == LogRow.columns.count, let rowStep = Int(fields[0]),
                    lastStep.map({ rowStep == $0 + 1 }) ?? (1...step + 1).contains(rowStep)
                else {
                    throw damaged("line \(number) is not the row of step \((lastStep ?? 0) + 1)")
                }
                if rowStep > step { break }
                lastStep = rowStep
            }
            kept = end + 1
        }
        if number == 0 { throw damaged("the line of its columns is missing") }
        if let lastStep, lastStep < step { throw damaged("the last whole row is that of step \(lastStep)") }
        return kept
    }
}
