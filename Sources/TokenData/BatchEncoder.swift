import Synchronization
import TensorCore

/// The ids of a block of records.
struct EncodedBlock {
    var tokens: [UInt16] = []
    /// Where in `tokens` documents end; what follows the last is the start of one that goes on.
    var documentEnds: [Int] = []
    var textBytes = 0
    var bad: [BadDocument] = []
}

/// Parses and encodes batches of records with all workers of a pool.
final class BatchEncoder: @unchecked Sendable {
    private let tokenizer: Tokenizer

    init(tokenizer: Tokenizer) { self.tokenizer = tokenizer }

    /// The blocks of `batch` in order, and the result of `readNext`, which one worker runs meanwhile.
    /// `isParsingOnly` looks for bad records alone.
    func encode(
        _ batch: DocumentBatch, with pool: WorkerPool, isParsingOnly: Bool,
        cancellation: CancellationFlag?, readNext: () throws -> Bool
    ) throws -> ([EncodedBlock], Bool) {
        let ranges = Self.blocks(of: batch.records)
        var blocks = [EncodedBlock](repeating: EncodedBlock(), count: ranges.count)
        var hasNext = false
        try batch.bytes.withUnsafeBytes { bytes in
            try blocks.withUnsafeMutableBufferPointer { blocks in
                // The reading comes first: it takes longest, and the other blocks fill the time.
                try pool.forEach(ranges.count + 1, cancellation: cancellation) { block, _ in
                    if block == 0 {
                        hasNext = try readNext()
                    } else {
                        blocks[block - 1] = try encode(
                            batch.records[ranges[block - 1]], of: bytes, isParsingOnly: isParsingOnly)
                    }
                }
            }
        }
        return (blocks, hasNext)
    }

    private func encode(
        _ records: ArraySlice<DocumentRecord>, of bytes: UnsafeRawBufferPointer, isParsingOnly: Bool
    ) throws -> EncodedBlock {
        var block = EncodedBlock()
        for record in records {
            switch record.text(in: bytes) {
            case .failure(let bad):
                block.bad.append(bad)
                continue
            case .success(var text):
                if isParsingOnly { continue }
                try text.withUTF8 { utf8 in
                    block.textBytes += utf8.count
                    try tokenizer.encode(utf8, isContinuation: record.isContinuation) { ids in
                        block.tokens.append(contentsOf: ids.lazy.map { UInt16($0) })
                    }
                }
            }
            if record.kind != .text { block.documentEnds.append(block.tokens.count) }
        }
        return block
    }

    /// Ranges of records of some 64 KiB each, whatever the number of workers.
    private static func blocks(of records: [DocumentRecord]) -> [Range<Int>] {
        var blocks: [Range<Int>] = []
        var (start, size) = (0, 0)
        for index in records.indices {
            size += records[index].range.count
            if size >= 1 << 16 {
                blocks.append(start..<index + 1)
                (start, size) = (index + 1, 0)
            }
        }
        if start < records.count { blocks.append(start..<records.count) }
        return blocks
    }
}
