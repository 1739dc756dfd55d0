import Console
import Files
import Foundation
import Synchronization
import TensorCore

/// One file of tokens, open for reading.
///
/// Tokens are copied out and looked at each time: a map of the file would end the process by a signal where another
/// one cuts the file, and hand on ids beyond the vocabulary where another one writes it.
final class Shard: Sendable {
    let path: String
    let header: ShardHeader
    private let file: RegularFile
    private let vocabularySize: Int
    /// What the file was when its tokens were last known to be those of `checksum`.
    private let known: Mutex<(version: RegularFile.Version, checksum: UInt32?)>

    init(_ path: String, vocabularySize: Int) throws {
        self.path = path
        self.vocabularySize = vocabularySize
        let file = try RegularFile(path)
        self.file = file
        known = Mutex((try file.version(), nil))
        var start = [UInt8](repeating: 0, count: min(file.size, ShardHeader.byteCount))
        try start.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        header = try start.withUnsafeBytes { try ShardHeader(of: $0, fileSize: file.size, path: path) }
    }

    var tokenCount: Int { header.tokenCount }
    var payloadSize: Int { 2 * tokenCount }

    /// Copies the tokens from number `start` on, as many as fit. Throws where one is not in the vocabulary.
    func read(from start: Int, into tokens: UnsafeMutableBufferPointer<UInt16>) throws {
        try file.read(at: offset(of: start), into: UnsafeMutableRawBufferPointer(tokens))
        // The largest first: that loop has no exit, so the compiler makes vectors of it.
        var largest: UInt16 = 0
        for index in tokens.indices {
            tokens[index] = UInt16(littleEndian: tokens[index])
            largest = max(largest, tokens[index])
        }
        guard Int(largest) >= vocabularySize, let index = tokens.firstIndex(where: { Int($0) >= vocabularySize }) else {
            return
        }
        throw UserError(
            .data,
            "\(path): token \(start + index) (offset \(offset(of: start + index))) has id \(tokens[index]); the "
                + "model's vocabulary has \(vocabularySize)", hint: hint(id: Int(tokens[index])))
    }

    /// `read`, of a file that is still what it was when it was checked.
    func readUnchanged(from start: Int, into tokens: UnsafeMutableBufferPointer<UInt16>) throws {
        try read(from: start, into: tokens)
        let version = try file.version()
        try known.withLock { known in
            if known.version == version { return }
            // A new time alone (`touch`) does no harm.
            guard version.size == file.size, try checksum(WorkerPool(threads: 1)) == known.checksum else {
                throw UserError(
                    .data,
                    "\(path) was changed while it was in use; noticed when reading at offset \(offset(of: start))",
                    hint: "put back the file as it was")
            }
            known.version = version
        }
    }

    private func offset(of token: Int) -> Int { ShardHeader.byteCount + 2 * token }

    private func hint(id: Int) -> String {
        guard let size = header.extras?.vocabularySize, id < size else {
            return "the shard is damaged, or was not made with the model's tokenizer: make it again"
        }
        return "set model.vocab_size to the tokenizer's size, \(size), or make the shards with the model's tokenizer"
    }

    /// Tokens of a part that `forEachPart` hands out: few enough that it stays in the cache while it is looked at.
    private static let partCount = 1 << 17

    /// Hands all tokens to `body`, part by part, on the threads of `pool`. Results in the parts' order.
    func forEachPart<Result>(
        _ pool: WorkerPool, _ cancellation: CancellationFlag? = nil,
        _ body: (_ start: Int, UnsafeBufferPointer<UInt16>) -> Result
    ) throws -> [Result] {
        let starts = Array(stride(from: 0, to: tokenCount, by: Self.partCount))
        let buffers = (0..<pool.workerCount).map { _ in
            UnsafeMutableBufferPointer<UInt16>.allocate(capacity: min(tokenCount, Self.partCount))
        }
        defer { for buffer in buffers { buffer.deallocate() } }
        var results = [Result?](repeating: nil, count: starts.count)
        try results.withUnsafeMutableBufferPointer { results in
            try pool.forEach(starts.count, cancellation: cancellation) { part, worker in
                let count = min(Self.partCount, tokenCount - starts[part])
                let tokens = UnsafeMutableBufferPointer(rebasing: buffers[worker][..<count])
                try read(from: starts[part], into: tokens)
                results[part] = body(starts[part], UnsafeBufferPointer(tokens))
            }
        }
        return results.compactMap { $0 }
    }

    /// Looks at every token, and compares their CRC-32 with the header's; the CRC-32.
    func check(_ pool: WorkerPool, _ cancellation: CancellationFlag?, _ progress: ProgressBar) throws -> UInt32 {
        let actual = try checksum(pool, cancellation, progress)
        if let expected = header.extras?.checksum, actual != expected {
            throw UserError(
                .data,
                "\(path) is damaged: its tokens have CRC-32 \(hex(actual)), its header says \(hex(expected))",
                hint: "copy it again, or make it again with `cosmos-train tokenize`")
        }
        known.withLock { $0.checksum = actual }
        return actual
    }

    /// Takes the header's checksum for that of the tokens; false where it has none.
    func trustHeader() -> Bool {
        guard let expected = header.extras?.checksum else { return false }
        known.withLock { $0.checksum = expected }
        return true
    }

    private func checksum(
        _ pool: WorkerPool, _ cancellation: CancellationFlag? = nil, _ progress: ProgressBar? = nil
    ) throws -> UInt32 {
        let parts = try forEachPart(pool, cancellation) { _, tokens in
            progress?.advance(by: 2 * tokens.count)
            return (checksum: crc32(UnsafeRawBufferPointer(tokens)), count: 2 * tokens.count)
        }
        return parts.reduce(0) { crc32($0, followedBy: $1.checksum, count: $1.count) }
    }

    /// What its name shares with the others of its set: all but the number.
    var setName: String {
        let name = folderAndName(of: path).name
        return String(name.dropLast(4).reversed().drop { $0.isNumber }.reversed())
    }

    /// Whether its first token follows the last one of `other`.
    func continues(_ other: Shard) -> Bool {
        guard let extras = header.extras, let before = other.header.extras else { return false }
        return setName == other.setName && extras.index == before.index + 1
    }
}

private func hex(_ value: UInt32) -> String { "0x" + String(format: "%08x", value) }

/// What follows from the headers of several shards; throws where they contradict each other.
struct ShardSet {
    var tokenizerFingerprint: UInt64?
    var endOfTextID: Int32?
    var notices: [String] = []

    /// `isFolder`: whether the shards are all of a folder, so that a set must be complete.
    init(shards: [Shard], isFolder: Bool) throws {
        var first: (path: String, extras: ShardHeader.Extras)?
        var sets: [String: [Shard]] = [:]
        for shard in shards {
            sets[shard.setName, default: []].append(shard)
            guard let extras = shard.header.extras else { continue }
            if let first, first.extras.tokenizerFingerprint != extras.tokenizerFingerprint {
                throw UserError(
                    .data, "\(first.path) and \(shard.path) were made with different tokenizers",
                    hint: "make all shards of a data set with one tokenizer")
            }
            if first == nil { first = (shard.path, extras) }
        }
        // 0 stands for an unknown tokenizer.
        tokenizerFingerprint = first?.extras.tokenizerFingerprint == 0 ? nil : first?.extras.tokenizerFingerprint
        endOfTextID = first?.extras.endOfTextID
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
