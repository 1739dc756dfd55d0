import Configuration
import Console
import Files
import TensorCore

/// How tokens become the rows of a batch: `packing: true` or `false`.
public enum Packing: Sendable, ConfigurationValue {
    /// Windows of one stream of documents: every position has a target.
    case stream
    /// One document a row, cut or padded to the length, as in GaLore's benchmark.
    case documents

    public static let typeName = "true or false"

    /// Older configurations have the words.
    public init(configuration node: ConfigurationNode) throws {
        switch node.text {
        case "true", "stream": self = .stream
        case "false", "documents": self = .documents
        default: throw node.mismatch(Self.typeName)
        }
    }

    public var yaml: String { self == .stream ? "true" : "false" }
}

/// Token shards as windows of `sequenceLength` inputs and as many targets, each the token after its
/// input. The files stay open; the operating system keeps in memory what is used.
///
/// As a stream, windows do not overlap, apart from the one token that is the last target of a window
/// and the first input of the next: a shard of n tokens has (n - 1) / sequenceLength of them.
/// Documents are not kept apart; the end-of-text id stands between them. With one document a row,
/// `DocumentIndex` says what a window holds.
public final class TokenDataset: @unchecked Sendable {
    public let sequenceLength: Int
    public let packing: Packing
    public let windowCount: Int
    public let targetCount: Int
    /// Tokens of all shards, those of no window included.
    public let tokenCount: Int
    public let files: [String]
    /// Fingerprint of the tokenizer that made the shards, nil where the files do not say.
    public let tokenizerFingerprint: UInt64?
    /// The id after each document, nil where the files do not say.
    public let endOfTextID: Int32?
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
    /// `pool` shares that work. With `isTrusting`, tokens whose checksum is in their shard's header are
    /// not looked at. `cancellation` ends it by `CancellationError`.
    public init(
        path: String, sequenceLength: Int, vocabularySize: Int, packing: Packing = .stream,
        pool: WorkerPool = WorkerPool(threads: 1),
        isTrusting: Bool = false, cancellation: CancellationFlag? = nil
    ) throws {
        require(
            sequenceLength > 0 && vocabularySize > 0, "windows of \(sequenceLength) ids below \(vocabularySize)")
        files = try expandPath(path, endings: [".bin"], what: "token shards")
        shards = try files.map { try Shard($0, vocabularySize: vocabularySize) }
        let set = try ShardSet(shards: shards, isFolder: isFolder(path))
        tokenizerFingerprint = set.tokenizerFingerprint
        endOfTextID = set.endOfTextID
        self.sequenceLength = sequenceLength
        self.packing = packing
        tokenCount = shards.reduce(0) { $0 + $1.tokenCount }
        let documents = packing == .documents ? try DocumentIndex(shards, length: sequenceLength, pool: pool) : nil
        self.documents = documents
        firstWindows =
            documents?.firstDocuments
            ?? shards.reduce(into: [0]) { $0.append($0.last! + ($1.tokenCount - 1) / sequenceLength) }
        windowCount = firstWindows.last!
        targetCount = documents?.targetCount ?? windowCount * sequenceLength
        if windowCount == 0, let longest = shards.max(by: { $0.tokenCount < $1.tokenCount }) {
            throw UserError(
                .data,
                "\(longest.path) has \(longest.tokenCount) tokens: too short for one window of "
                    + "\(sequenceLength) + 1 tokens" + (shards.count > 1 ? ", and so are all shards of \(path)" : ""),
                hint: "give more text, or choose a smaller data.sequence_length")
        }
        let short = shards.filter { $0.tokenCount <= sequenceLength }.map {
            "\($0.path) has only \($0.tokenCount) tokens, less than a window of \(sequenceLength) + 1; left out"
        }
        notices = set.notices + (documents?.notices ?? short)
        contentFingerprint = try Self.check(shards, pool, isTrusting: isTrusting, cancellation)
    }

    /// The targets of the shards of `path` in whole windows, by the files' sizes, without opening them.
    public static func targetCount(of path: String, sequenceLength: Int) throws -> Int {
        try expandPath(path, endings: [".bin"], what: "token shards").reduce(0) {
            let tokens = (try InputFile.readableSize(of: $1) - ShardHeader.byteCount) / 2
            return $0 + max(0, tokens - 1) / sequenceLength * sequenceLength
        }
    }

    /// Copies window `index` (0 ..< windowCount): `sequenceLength` inputs and their targets. A position
    /// without a target has -1. Throws where a shard is no longer what it was at the start.
    public func window(
        _ index: Int, tokens: UnsafeMutableBufferPointer<Int32>, targets: UnsafeMutableBufferPointer<Int32>
    ) throws {
        require(
            tokens.count == sequenceLength && targets.count == sequenceLength,
            "buffers of \(tokens.count) and \(targets.count) tokens for a window of \(sequenceLength)")
        let (shard, number) = place(of: index)
        if let documents { return try documents.copy(number, of: shard, shards, tokens: tokens, targets: targets) }
        try withUnsafeTemporaryAllocation(of: UInt16.self, capacity: sequenceLength + 1) { source in
            try shards[shard].readUnchanged(from: number * sequenceLength, into: source)
            for position in 0..<sequenceLength {
                tokens[position] = Int32(source[position])
                targets[position] = Int32(source[position + 1])
            }
        }
    }

    public func targetCount(_ index: Int) -> Int {
        guard let documents else { return sequenceLength }
        let (shard, number) = place(of: index)
        return documents.targetCount(number, of: shard)
    }

    /// The shard in which a window begins, and its number there.
    private func place(of index: Int) -> (shard: Int, number: Int) {
        require(index >= 0 && index < windowCount, "window \(index) of \(windowCount)")
        let shard = shards.indices.last { firstWindows[$0] <= index }!
        return (shard, index - firstWindows[shard])
    }

    /// Looks at every token of the shards, in one pass; the checksum of all.
    private static func check(
        _ shards: [Shard], _ pool: WorkerPool, isTrusting: Bool, _ cancellation: CancellationFlag?
    ) throws -> UInt32 {
        if isTrusting, shards.allSatisfy({ $0.trustHeader() }) {
            return shards.reduce(0) { crc32($0, followedBy: $1.header.extras?.checksum ?? 0, count: $1.payloadSize) }
        }
        let progress = ProgressBar("checking shards", total: shards.reduce(0) { $0 + $1.payloadSize }, unit: .bytes)
        defer { progress.finish() }
        return try shards.reduce(0) { whole, shard in
            crc32(whole, followedBy: try shard.check(pool, cancellation, progress), count: shard.payloadSize)
        }
    }
}
