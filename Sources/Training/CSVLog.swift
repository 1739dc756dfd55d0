import Checkpoints
import Console
import Files
import Foundation
import Glibc

/// `log.csv`: a header line, then one row a step, each handed to the system as soon as it is known.
///
/// Call `synchronize` before a checkpoint is written: then the log has every row up to the checkpoint's
/// step even after a power failure, and a resumed run neither misses nor repeats one.
public final class CSVLog {
    public let path: String
    private let descriptor: Int32
    /// The columns that the file has.
    private let columnCount: Int

    /// A new log; the file must not exist.
    public init(creating path: String) throws {
        self.path = path
        descriptor = try openOwnFile(path, O_WRONLY | O_EXCL | O_APPEND)
        columnCount = LogRow.columns.count
        try write(LogRow.columns)
    }

    /// Continues a log after `step`, the step of the checkpoint: later rows, and a last row that a killed
    /// process left unfinished, are cut off. Throws where a row up to `step` is missing or damaged; but a log
    /// that was lost and begun anew may begin with a later step, at most the next one.
    public init(resuming path: String, after step: Int) throws {
        self.path = path
        descriptor = try openOwnFile(path, O_WRONLY | O_APPEND)
        let length: Int
        (length, columnCount) = try Self.lengthToKeep(path, upTo: step)
        if ftruncate(descriptor, length) != 0 { throw UserError.system("write", path, code: errno) }
    }

    deinit { close(descriptor) }

    public func append(_ row: LogRow) throws { try write(Array(row.fields.prefix(columnCount))) }

    public func synchronize() throws {
        if fsync(descriptor) != 0 { throw UserError.system("write", path, code: errno) }
    }

    private func write(_ fields: [String]) throws {
        var text = fields.joined(separator: ",") + "\n"
        try text.withUTF8 {
            try AtomicFile.write(UnsafeRawBufferPointer($0), to: descriptor, of: path, at: nil)
        }
    }

    /// The bytes of the header and of the rows up to `step`, and the number of columns.
    private static func lengthToKeep(_ path: String, upTo step: Int) throws -> (length: Int, columns: Int) {
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
        var columns = 0
        while lastStep ?? 0 < step || number == 0, let end = data[kept...].firstIndex(of: UInt8(ascii: "\n")) {
            let fields = data[kept..<end].split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
                .map { String(decoding: $0, as: UTF8.self) }
            number += 1
            if number == 1 {
                let olderNames = ["limit_share": "mfu", "head_seconds": "lm_head_seconds"]
                columns = fields.count
                guard fields.map({ olderNames[$0] ?? $0 }) == Array(LogRow.columns.prefix(columns)),
                    columns >= LogRow.columns.count - 1
                else {
                    throw damaged("line 1 has other columns than this version writes")
                }
            } else {
                guard fields.count == columns, let rowStep = Int(fields[0]),
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
        return (kept, columns)
    }
}
