import Configuration
import Foundation
import Synchronization
import TensorCore

/// Token shards as windows of `sequenceLength` inputs and as many targets, each the token after its
/// input. The files are memory-mapped; the operating system keeps in memory what is used.
///
/// Windows do not overlap, apart from the one token that is the last target of a window and the
/// first input of the next: a shard of n tokens has (n - 1) / sequenceLength of them. Documents are
/// not kept apart; the end-of-text id stands between them.
public final class TokenDataset: @unchecked Sendable {
    public let sequenceLength: Int
    /// Windows of all shards.
    public let windowCount: Int
    /// Tokens of all shards, those of no window included.
    public let tokenCount: Int
    /// The shards' files, in order.
    public let files: [String]
    /// Fingerprint of the tokenizer that made the shards, nil where the files do not say.
    public let tokenizerFingerprint: UInt64?
    /// What a person should know about the files, though it is no error.
    public let notices: [String]

    private let shards: [Shard]
    /// The number of the first window of each shard, and at the end the number of all windows.
    private let firstWindows: [Int]

    /// Opens and checks the shards of `path`: a folder, a file, or a glob of `.bin` files. Every
    /// token is looked at: its id must be below `vocabularySize`, and the checksums must be right.
    /// `pool`: who looks; nil: one thread.
    public init(path: String, sequenceLength: Int, vocabularySize: Int, pool: WorkerPool? = nil) throws {
        precondition(sequenceLength > 0 && vocabularySize > 0)
        files = try expandPath(path, endings: [".bin"], what: "token shards")
        shards = try files.map { try Shard($0) }
        let set = try ShardSet(shards: shards, isFolder: isFolder(path))
        tokenizerFingerprint = set.tokenizerFingerprint
        self.sequenceLength = sequenceLength
        tokenCount = shards.reduce(0) { $0 + $1.tokens.count }
        firstWindows = shards.reduce(into: [0]) { $0.append($0.last! + ($1.tokens.count - 1) / sequenceLength) }
        windowCount = firstWindows.last!

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
        try Self.check(shards, vocabularySize: vocabularySize, pool: pool ?? WorkerPool(threads: 1))
    }

    /// Copies window `index` (0 ..< windowCount): `sequenceLength` inputs and their targets.
    public func window(
        _ index: Int, tokens: UnsafeMutableBufferPointer<Int32>, targets: UnsafeMutableBufferPointer<Int32>
    ) {
        precondition(index >= 0 && index < windowCount, "window \(index) of \(windowCount)")
        precondition(
            tokens.count == sequenceLength && targets.count == sequenceLength,
            "buffers of \(tokens.count) and \(targets.count) tokens for a window of \(sequenceLength)")
        // The last shard that begins at or before the window.
        var (low, high) = (0, shards.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if firstWindows[middle] <= index { low = middle } else { high = middle }
        }
        let start = (index - firstWindows[low]) * sequenceLength
        let source = shards[low].tokens
        var current = Int32(UInt16(littleEndian: source[start]))
        for position in 0..<sequenceLength {
            tokens[position] = current
            current = Int32(UInt16(littleEndian: source[start + position + 1]))
            targets[position] = current
        }
    }

    /// Compares every shard's checksum and looks for ids beyond the vocabulary, in one pass.
    private static func check(_ shards: [Shard], vocabularySize: Int, pool: WorkerPool) throws {
        // Small enough that a chunk stays in the cache between the two looks at it.
        let chunkCount = 1 << 17
        let progress = ProgressBar("checking shards", total: shards.reduce(0) { $0 + $1.payload.count }, unit: .bytes)
        defer { progress.finish() }
        for shard in shards {
            let chunks = (shard.tokens.count + chunkCount - 1) / chunkCount
            var checksums = [UInt32](repeating: 0, count: chunks)
            try checksums.withUnsafeMutableBufferPointer { checksums in
                try pool.forEach(chunks, cancellation: nil) { chunk, _ in
                    let range = chunk * chunkCount..<min((chunk + 1) * chunkCount, shard.tokens.count)
                    let tokens = UnsafeBufferPointer(rebasing: shard.tokens[range])
                    if let bad = firstToken(of: tokens, notBelow: vocabularySize) {
                        let position = range.lowerBound + bad
                        throw UserError(
                            .data,
                            "\(shard.path): token \(position) (offset \(ShardHeader.byteCount + 2 * position)) has id "
                                + "\(UInt16(littleEndian: tokens[bad])); the model's vocabulary has \(vocabularySize)",
                            hint: "set model.vocab_size to the tokenizer's size"
                                + (shard.header.extras.map { ", \($0.vocabularySize)" } ?? "")
                                + ", or make the shards with the model's tokenizer")
                    }
                    if shard.header.extras != nil { checksums[chunk] = crc32(UnsafeRawBufferPointer(tokens)) }
                    progress.advance(by: 2 * range.count)
                }
            }
            guard let expected = shard.header.extras?.checksum else { continue }
            var actual: UInt32 = 0
            for (chunk, checksum) in checksums.enumerated() {
                let count = min(chunkCount, shard.tokens.count - chunk * chunkCount)
                actual = crc32(actual, followedBy: checksum, count: 2 * count)
            }
            if actual != expected {
                throw UserError(
                    .data,
                    "\(shard.path) is damaged: its tokens have CRC-32 \(hex(actual)), its header says \(hex(expected))",
                    hint: "copy it again, or make it again with `cosmos-train tokenize`")
            }
        }
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

/// One mapped file.
private final class Shard {
    let path: String
    let header: ShardHeader
    let payload: UnsafeRawBufferPointer
    let tokens: UnsafeBufferPointer<UInt16>
    private let map: UnsafeRawBufferPointer

    init(_ path: String) throws {
        self.path = path
        map = try InputFile(path).map()
        do {
            header = try ShardHeader(of: map, path: path)
        } catch {
            if !map.isEmpty { munmap(UnsafeMutableRawPointer(mutating: map.baseAddress), map.count) }
            throw error
        }
        payload = UnsafeRawBufferPointer(rebasing: map[ShardHeader.byteCount...])
        tokens = payload.bindMemory(to: UInt16.self)
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: map.baseAddress), map.count) }
}

/// What the headers of shards say about each other.
private struct ShardSet {
    var tokenizerFingerprint: UInt64?
    var notices: [String] = []

    /// `isFolder`: whether the shards are all of a folder, so that a set must be complete.
    init(shards: [Shard], isFolder: Bool) throws {
        var first: (path: String, extras: ShardHeader.Extras)?
        var sets: [String: [Shard]] = [:]
        for shard in shards {
            let name = folderAndName(of: shard.path).name
            let prefix = String(name.dropLast(4).reversed().drop { $0.isNumber }.reversed())
            sets[prefix, default: []].append(shard)
            guard let extras = shard.header.extras else { continue }
            if let first, first.extras.tokenizerFingerprint != extras.tokenizerFingerprint {
                throw UserError(
                    .data, "\(first.path) and \(shard.path) were made with different tokenizers",
                    hint: "make all shards of a data set with one tokenizer")
            }
            if first == nil { first = (shard.path, extras) }
        }
        tokenizerFingerprint = first?.extras.tokenizerFingerprint
        if isFolder { for set in sets.values { try Self.checkComplete(set) } }
        if sets.count > 1 {
            let names = sets.keys.sorted().map { "\($0)*.bin" }.joined(separator: ", ")
            notices.append("several sets of shards are used together: \(names)")
        }
    }

    /// Refuses a set from which a shard is missing: a copy or a tokenization that was cut short.
    private static func checkComplete(_ set: [Shard]) throws {
        let extras = set.compactMap(\.header.extras)
        guard extras.count == set.count, let path = set.first?.path else { return }
        let indices = Set(extras.map(\.index))
        let folder = folderAndName(of: path).folder
        let hint = "copy it again, or repeat `cosmos-train tokenize`; to use only some shards, name them by a glob"
        if let missing = (0..<set.count).first(where: { !indices.contains($0) }) {
            throw UserError(.data, "\(folder): shard \(missing) is missing from the set of \(path)", hint: hint)
        }
        if !extras.contains(where: \.isLast) {
            throw UserError(.data, "\(folder): the last shard is missing from the set of \(path)", hint: hint)
        }
    }
}
