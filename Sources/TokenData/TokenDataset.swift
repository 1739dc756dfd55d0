import Configuration
import Foundation
import Synchronization
import TensorCore

/// How tokens become the rows of a batch.
public enum Packing: String, CaseIterable, ConfigurationValue {
    /// Windows of one stream of documents: every position has a target.
    case stream
    /// One document a row, cut or padded to the length, as in GaLore's benchmark.
    case documents
}

/// Token shards as windows of `sequenceLength` inputs and as many targets, each the token after its
/// input. The files are memory-mapped; the operating system keeps in memory what is used.
///
/// As a stream, windows do not overlap, apart from the one token that is the last target of a window
/// and the first input of the next: a shard of n tokens has (n - 1) / sequenceLength of them.
/// Documents are not kept apart; the end-of-text id stands between them. With one document a row,
/// `DocumentIndex` says what a window holds.
public final class TokenDataset: @unchecked Sendable {
    public let sequenceLength: Int
    public let packing: Packing
    /// Windows of all shards.
    public let windowCount: Int
    /// Targets of all windows.
    public let targetCount: Int
    /// Tokens of all shards, those of no window included.
    public let tokenCount: Int
    /// The shards' files, in order.
    public let files: [String]
    /// Fingerprint of the tokenizer that made the shards, nil where the files do not say.
    public let tokenizerFingerprint: UInt64?
    /// CRC-32 over the tokens of all shards, in order.
    public let contentFingerprint: UInt32
    /// What a person should know about the files, though it is no error.
    public let notices: [String]

    private let shards: [Shard]
    /// The number of the first window of each shard, and at the end the number of all windows.
    private let firstWindows: [Int]
    private let documents: DocumentIndex?

    /// Opens and checks the shards of `path`: a folder, a file, or a glob of `.bin` files. Every
    /// token is looked at: its id must be below `vocabularySize`, and the checksums must be right.
    /// `pool`: who looks; nil: one thread. `cancellation` ends that by `CancellationError`.
    public init(
        path: String, sequenceLength: Int, vocabularySize: Int, packing: Packing = .stream, pool: WorkerPool? = nil,
        cancellation: CancellationFlag? = nil
    ) throws {
        precondition(sequenceLength > 0 && vocabularySize > 0)
        files = try expandPath(path, endings: [".bin"], what: "token shards")
        shards = try files.map { try Shard($0) }
        let set = try ShardSet(shards: shards, isFolder: isFolder(path))
        tokenizerFingerprint = set.tokenizerFingerprint
        self.sequenceLength = sequenceLength
        self.packing = packing
        tokenCount = shards.reduce(0) { $0 + $1.tokens.count }
        let pool = pool ?? WorkerPool(threads: 1)
        if packing == .documents {
            let index = try DocumentIndex(shards, length: sequenceLength, pool: pool)
            documents = index
            firstWindows = index.firstDocuments
            windowCount = index.count
            targetCount = index.targetCount
            notices = set.notices + index.notices
            contentFingerprint = try Self.check(shards, vocabularySize: vocabularySize, pool: pool, cancellation)
            return
        }
        documents = nil
        firstWindows = shards.reduce(into: [0]) { $0.append($0.last! + ($1.tokens.count - 1) / sequenceLength) }
        windowCount = firstWindows.last!
        targetCount = windowCount * sequenceLength

        if windowCount == 0, let longest = shards.max(by: { $0.tokens.count < $1.tokens.count }) {
            throw UserError(
                .data,
                "\(longest.path) has \(longest.tokens.count) tokens: too short for one window of "
                    + "\(sequenceLength) + 1 tokens" + (shards.count > 1 ? ", and so are all shards of \(path)" : ""),
                hint: "give more text, or choose a smaller data.sequence_length")
        }
        let short = shards.filter { $0.tokens.count <= sequenceLength }
        notices =
            set.notices
            + short.map {
                "\($0.path) has only \($0.tokens.count) tokens, less than a window of \(sequenceLength) + 1; left out"
            }
        contentFingerprint = try Self.check(shards, vocabularySize: vocabularySize, pool: pool, cancellation)
    }

    /// The size of the shards of `path`, without opening them.
    public static func byteCount(of path: String) throws -> Int {
        try expandPath(path, endings: [".bin"], what: "token shards").reduce(0) {
            $0 + (try InputFile.readableSize(of: $1))
        }
    }

    /// Copies window `index` (0 ..< windowCount): `sequenceLength` inputs and their targets. A position
    /// without a target has -1.
    public func window(
        _ index: Int, tokens: UnsafeMutableBufferPointer<Int32>, targets: UnsafeMutableBufferPointer<Int32>
    ) {
        precondition(
            tokens.count == sequenceLength && targets.count == sequenceLength,
            "buffers of \(tokens.count) and \(targets.count) tokens for a window of \(sequenceLength)")
        let (shard, number) = place(of: index)
        if let documents { return documents.copy(number, of: shard, shards, tokens: tokens, targets: targets) }
        let start = number * sequenceLength
        let source = shards[shard].tokens
        var current = Int32(UInt16(littleEndian: source[start]))
        for position in 0..<sequenceLength {
            tokens[position] = current
            current = Int32(UInt16(littleEndian: source[start + position + 1]))
            targets[position] = current
        }
    }

    /// The number of targets that window `index` has.
    public func targetCount(_ index: Int) -> Int {
        guard let documents else { return sequenceLength }
        let (shard, number) = place(of: index)
        return documents.targetCount(number, of: shard, shards, length: sequenceLength)
    }

    /// The shard in which a window begins, and its number there.
    private func place(of index: Int) -> (shard: Int, number: Int) {
        precondition(index >= 0 && index < windowCount, "window \(index) of \(windowCount)")
        // The last shard that begins at or before the window.
        var (low, high) = (0, shards.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if firstWindows[middle] <= index { low = middle } else { high = middle }
        }
        return (low, index - firstWindows[low])
    }

    /// Compares every shard's checksum and looks for ids beyond the vocabulary, in one pass. The checksum of all.
    private static func check(
        _ shards: [Shard], vocabularySize: Int, pool: WorkerPool, _ cancellation: CancellationFlag?
    ) throws -> UInt32 {
        var whole: UInt32 = 0
        // Small enough that a chunk stays in the cache between the two looks at it.
        let chunkCount = 1 << 17
        let progress = ProgressBar("checking shards", total: shards.reduce(0) { $0 + $1.payload.count }, unit: .bytes)
        defer { progress.finish() }
        for shard in shards {
            let chunks = (shard.tokens.count + chunkCount - 1) / chunkCount
            var checksums = [UInt32](repeating: 0, count: chunks)
            try checksums.withUnsafeMutableBufferPointer { checksums in
                try pool.forEach(chunks, cancellation: cancellation) { chunk, _ in
                    let range = chunk * chunkCount..<min((chunk + 1) * chunkCount, shard.tokens.count)
                    let tokens = UnsafeBufferPointer(rebasing: shard.tokens[range])
                    if let bad = firstToken(of: tokens, notBelow: vocabularySize) {
                        let position = range.lowerBound + bad
                        throw UserError(
                            .data,
                            "\(shard.path): token \(position) (offset \(ShardHeader.byteCount + 2 * position)) has id "
                                + "\(UInt16(littleEndian: tokens[bad])); the model's vocabulary has \(vocabularySize)",
                            hint: hint(shard, id: Int(UInt16(littleEndian: tokens[bad]))))
                    }
                    checksums[chunk] = crc32(UnsafeRawBufferPointer(tokens))
                    progress.advance(by: 2 * range.count)
                }
            }
            var actual: UInt32 = 0
            for (chunk, checksum) in checksums.enumerated() {
                let count = min(chunkCount, shard.tokens.count - chunk * chunkCount)
                actual = crc32(actual, followedBy: checksum, count: 2 * count)
            }
            whole = crc32(whole, followedBy: actual, count: shard.payload.count)
            if let expected = shard.header.extras?.checksum, actual != expected {
                throw UserError(
                    .data,
                    "\(shard.path) is damaged: its tokens have CRC-32 \(hex(actual)), its header says \(hex(expected))",
                    hint: "copy it again, or make it again with `cosmos-train tokenize`")
            }
        }
        return whole
    }

    private static func hint(_ shard: Shard, id: Int) -> String {
        guard let size = shard.header.extras?.vocabularySize, id < size else {
            return "the shard is damaged, or was not made with the model's tokenizer: make it again"
        }
        return "set model.vocab_size to the tokenizer's size, \(size), or make the shards with the model's tokenizer"
    }

    /// The index of the first id that is not below `limit`.
    private static func firstToken(of tokens: UnsafeBufferPointer<UInt16>, notBelow limit: Int) -> Int? {
        // The largest first: that loop has no exit, so the compiler makes vectors of it.
        var largest: UInt16 = 0
        for token in tokens { largest = max(largest, UInt16(littleEndian: token)) }
        return Int(largest) < limit ? nil : tokens.firstIndex { Int(UInt16(littleEndian: $0)) >= limit }
    }
}

private func hex(_ value: UInt32) -> String { "0x" + String(format: "%08x", value) }
