import Console
import Glibc
import TensorCore

/// A part of an input file as it was read, before any parsing.
struct DocumentRecord {
    enum Kind {
        /// A line of a JSON lines file: one document.
        case jsonLine
        /// The last piece of a plain text file, and any piece before it.
        case lastText, text
    }
    let kind: Kind
    let path: String
    /// The line's number from 1 (JSON lines).
    let line: Int
    /// The position of its first byte in the unpacked file.
    let offset: Int
    /// Whether it is a further piece of a text that began before it.
    let isContinuation: Bool
    /// Where it lies in its batch's bytes.
    let range: Range<Int>
}

/// Reads documents from files, in order, a batch of bytes at a time, in constant memory.
///
/// * `.json.gz`, `.jsonl.gz`, `.json`, `.jsonl`: C4's format, one JSON object a line, its `text` a document.
/// * `.txt.gz`, `.txt`: the whole file is one document, of any size.
///
/// A text file comes in pieces of at most `pieceSize` bytes, as `pieceEnd` cuts them; the pieces one after the
/// other are the file.
final class DocumentReader {
    static let lineEndings = [".json.gz", ".jsonl.gz", ".json", ".jsonl"]
    static let textEndings = [".txt.gz", ".txt"]

    /// The files' bytes as they lie on the disk, for progress.
    let totalSize: Int
    var bytesRead: Int { finishedSize + (current?.file.bytesRead ?? 0) }

    private let paths: [String]
    private var nextPath = 0
    private var finishedSize = 0
    private var current: OpenFile?
    private let pieceSize: Int
    private let lineLimit: Int
    private let cancellation: CancellationFlag?

    private struct OpenFile {
        let file: InputFile
        let stream: any ByteStream
        let isText: Bool
        var line = 0
        /// The position of the first byte that no record holds yet.
        var offset = 0
        /// The position of the first byte after a byte order mark.
        var textStart = 0
    }

    /// Bytes of the current file that belong to no record yet.
    private var rest: [UInt8] = []

    /// `inputs`: files, folders or globs. One that is missing or unreadable is told here, before any
    /// work is done.
    init(
        inputs: [String], pieceSize: Int = textPieceSize, lineLimit: Int = 1 << 28,
        cancellation: CancellationFlag? = nil
    ) throws {
        paths = try inputs.flatMap {
            try expandPath($0, endings: Self.lineEndings + Self.textEndings, what: "documents")
        }
        for path in paths where !(Self.lineEndings + Self.textEndings).contains(where: path.hasSuffix) {
            throw UserError(
                .usage,
                "\(path): what kind of file is this? Its name should end in "
                    + (Self.lineEndings + Self.textEndings).joined(separator: ", "),
                hint: importHint([path]) ?? "rename it, or unpack it first if it is packed otherwise than by gzip")
        }
        totalSize = try paths.reduce(0) { try $0 + InputFile.readableSize(of: $1) }
        self.pieceSize = pieceSize
        self.lineLimit = lineLimit
        self.cancellation = cancellation
    }

    /// Replaces `batch` by the next records: at least `size` bytes of them unless the files end.
    /// False when there are none left.
    func read(into batch: inout DocumentBatch, size: Int) throws -> Bool {
        batch.bytes.removeAll(keepingCapacity: true)
        batch.records.removeAll(keepingCapacity: true)
        while batch.bytes.count < size {
            if current == nil, try !openNext() { break }
            let start = batch.bytes.count
            batch.bytes += rest
            rest.removeAll(keepingCapacity: true)
            // Twice what is left over, so that a line much longer than a batch is not copied too often.
            let isAtEnd = try fill(&batch.bytes, to: max(size, batch.bytes.count * 2 - start, start + pieceSize + 2))
            let consumed = try takeRecords(&batch, from: start, isAtEnd: isAtEnd)
            rest += batch.bytes[consumed...]
            batch.bytes.removeSubrange(consumed...)
            if isAtEnd {
                finishedSize += current?.file.bytesRead ?? 0
                current = nil
            }
        }
        return !batch.records.isEmpty
    }

    /// Leaves out what follows in the files after the current one.
    func stopAfterCurrentFile() { nextPath = paths.count }

    private func openNext() throws -> Bool {
        guard nextPath < paths.count else { return false }
        let path = paths[nextPath]
        nextPath += 1
        let file = try InputFile(path, cancellation: cancellation)
        current = OpenFile(
            file: file, stream: path.hasSuffix(".gz") ? GzipFile(file) : file,
            isText: Self.textEndings.contains(where: path.hasSuffix))
        return true
    }

    /// Appends bytes of the current file until there are `count`, and at least one more chunk; true at the file's end.
    private func fill(_ bytes: inout [UInt8], to count: Int) throws -> Bool {
        let chunk = 1 << 18
        repeat {
            let read = try withUnsafeTemporaryAllocation(byteCount: chunk, alignment: 64) { buffer in
                let read = try current?.stream.read(into: buffer) ?? 0
                bytes.append(contentsOf: UnsafeRawBufferPointer(buffer)[..<read])
                return read
            }
            if read == 0 { return true }
        } while bytes.count < count
        return false
    }

    /// Cuts the bytes from `start` on into records; where the last one ends.
    private func takeRecords(_ batch: inout DocumentBatch, from start: Int, isAtEnd: Bool) throws -> Int {
        guard var file = current else { return start }
        defer { current = file }
        var position = start
        // A byte order mark says nothing: UTF-8 has one order.
        if file.offset == 0, batch.bytes[start...].starts(with: [0xEF, 0xBB, 0xBF]) {
            position += 3
            file.offset = 3
            file.textStart = 3
        }
        let end = batch.bytes.count
        func add(_ kind: DocumentRecord.Kind, to recordEnd: Int, next: Int) {
            batch.records.append(
                DocumentRecord(
                    kind: kind, path: file.file.path, line: file.line, offset: file.offset,
                    isContinuation: file.isText && file.offset > file.textStart, range: position..<recordEnd))
            file.offset += next - position
            position = next
        }
        if file.isText {
            while let cut = batch.bytes.withUnsafeBytes({ pieceEnd($0, from: position, size: pieceSize) }) {
                add(.text, to: cut, next: cut)
            }
            if isAtEnd { add(.lastText, to: end, next: end) }
            return position
        }
        while position < end {
            let newline = batch.bytes.withUnsafeBytes { bytes in
                memchr(bytes.baseAddress! + position, 0x0A, end - position).map {
                    UnsafeRawPointer($0) - bytes.baseAddress!
                }
            }
            if newline == nil, !isAtEnd {
                if end - position > lineLimit {
                    throw UserError(
                        .data, "\(file.file.path):\(file.line + 1): a line of more than \(Format.bytes(lineLimit))",
                        hint: "JSON lines have one document a line; is this another kind of file?")
                }
                break
            }
            file.line += 1
            let lineEnd = newline ?? end
            let isBlank = batch.bytes[position..<lineEnd].allSatisfy { $0 == 0x20 || $0 == 0x0D || $0 == 0x09 }
            let next = newline.map { $0 + 1 } ?? end
            if isBlank {
                file.offset += next - position
                position = next
            } else {
                add(.jsonLine, to: lineEnd, next: next)
            }
        }
        return position
    }
}

struct DocumentBatch {
    var bytes: [UInt8] = []
    var records: [DocumentRecord] = []
}
