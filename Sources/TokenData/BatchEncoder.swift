import TensorCore

/// The ids of some records, the work of one task.
struct EncodedRecords {
    var tokens: [UInt16] = []
    /// Where in `tokens` documents end. Tokens after the last end are the start of a document that goes on.
    var documentEnds: [Int] = []
    var textBytes = 0
    var bad: [BadDocument] = []
}

/// Parses and encodes batches of records with all workers of a pool.
final class BatchEncoder: @unchecked Sendable {
    private let tokenizer: Tokenizer

    init(tokenizer: Tokenizer) { self.tokenizer = tokenizer }

    /// The records of `batch`, encoded by parts in order, and the result of `readNext`, which one worker runs meanwhile.
    /// `isParsingOnly` looks for bad records alone.
    func encode(
        _ batch: DocumentBatch, with pool: WorkerPool, isParsingOnly: Bool,
        cancellation: CancellationFlag?, readNext: () throws -> Bool
    ) throws -> ([EncodedRecords], Bool) {
        let ranges = Self.parts(of: batch.records)
        var parts = [EncodedRecords](repeating: EncodedRecords(), count: ranges.count)
        var hasNext = false
        try batch.bytes.withUnsafeBytes { bytes in
            try parts.withUnsafeMutableBufferPointer { parts in
                // The reading comes first: it takes longest, and the other parts fill the time.
                try pool.forEach(ranges.count + 1, cancellation: cancellation) { part, _ in
                    if part == 0 {
                        hasNext = try readNext()
                    } else {
                        parts[part - 1] = try encode(
                            batch.records[ranges[part - 1]], of: bytes, isParsingOnly: isParsingOnly)
                    }
                }
            }
        }
        return (parts, hasNext)
    }

    private func encode(
        _ records: ArraySlice<DocumentRecord>, of bytes: UnsafeRawBufferPointer, isParsingOnly: Bool
    ) throws -> EncodedRecords {
        var part = EncodedRecords()
        for record in records {
            switch record.text(in: bytes) {
            case .failure(let bad):
                part.bad.append(bad)
                continue
            case .success(var text):
                if isParsingOnly { continue }
                try text.withUTF8 { utf8 in
                    part.textBytes += utf8.count
                    try tokenizer.encode(utf8, isContinuation: record.isContinuation) { ids in
                        part.tokens.append(contentsOf: ids.lazy.map { UInt16($0) })
                    }
                }
            }
            if record.kind != .text { part.documentEnds.append(part.tokens.count) }
        }
        return part
    }

    /// Ranges of records of some 64 KiB each, whatever the number of workers.
    private static func parts(of records: [DocumentRecord]) -> [Range<Int>] {
        var parts: [Range<Int>] = []
        var (start, size) = (0, 0)
        for index in records.indices {
            size += records[index].range.count
            if size >= 1 << 16 {
                parts.append(start..<index + 1)
                (start, size) = (index + 1, 0)
            }
        }
        if start < records.count { parts.append(start..<records.count) }
        return parts
    }
}
