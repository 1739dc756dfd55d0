import Checkpoints
import Console
import Files
import Glibc

/// `log.csv`: a header line, then one row a step, each handed to the system as soon as it is known. Beside it, where asked
/// for, `log.jsonl`, the same as a JSON object a line.
///
/// Call `synchronize` before a checkpoint is written: then the log has every row up to the checkpoint's
/// step even after a power failure, and a resumed run neither misses nor repeats one.
public final class CSVLog {
    private let file: GrowingFile
    private var jsonLines: GrowingFile?
    /// The columns that the file has.
    private let columnCount: Int
    /// Of the rows that a resumed log began with.
    let bestValidationLoss: Double?

    /// A new log; the file must not exist.
    public init(creating path: String) throws {
        file = try GrowingFile(path, O_EXCL)
        (columnCount, bestValidationLoss) = (LogRow.columns.count, nil)
        try file.write(LogRow.columns.joined(separator: ",") + "\n")
    }

    /// Continues a log after `step`, the step of the checkpoint: later rows, and a last row that a killed
    /// process left unfinished, are cut off. Throws where a row up to `step` is missing or damaged; but a log
    /// that was lost and begun anew may begin with a later step, at most the next one.
    public init(resuming path: String, after step: Int) throws {
        file = try GrowingFile(path)
        let length: Int
        (length, columnCount, bestValidationLoss) = try Self.lengthToKeep(path, upTo: step)
        try file.truncate(to: length)
    }

    /// Writes `log.jsonl`, too, from the first row on.
    func addJSONLines(_ path: String) throws {
        let rows = String(decoding: try RegularFile.contents(of: file.path, limit: .max), as: UTF8.self)
            .split(separator: "\n").dropFirst()
        let objects = rows.map {
            Self.object($0.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
        }
        try AtomicFile.write(objects.joined(), to: path)
        jsonLines = try GrowingFile(path)
    }

    public func append(_ row: LogRow) throws {
        let fields = Array(row.fields.prefix(columnCount))
        try file.write(fields.joined(separator: ",") + "\n")
        try jsonLines?.write(Self.object(fields))
    }

    public func synchronize() throws { try file.synchronize() }

    private static func object(_ fields: [String]) -> String {
        let present = zip(LogRow.columns, fields).filter { !$1.isEmpty }
        return "{" + present.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}\n"
    }

    /// The bytes of the header and of the rows up to `step`, the number of columns, and the lowest validation loss.
    private static func lengthToKeep(
        _ path: String, upTo step: Int
    ) throws -> (length: Int, columns: Int, bestValidationLoss: Double?) {
        func damaged(_ what: String) -> UserError {
            UserError(
                .data, "\(path): \(what), so the run up to step \(step) is not in it",
                hint: "move the file away to resume with a new log, or start the run anew")
        }
        let data = try RegularFile.contents(of: path, limit: .max)
        var kept = 0
        var best: Double?
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
                best = Double(fields[3]).map { min($0, best ?? $0) } ?? best
            }
            kept = end + 1
        }
        if number == 0 { throw damaged("the line of its columns is missing") }
        if let lastStep, lastStep < step { throw damaged("the last whole row is that of step \(lastStep)") }
        return (kept, columns, best)
    }
}
