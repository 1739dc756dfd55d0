import Console
import Files
import Foundation

/// Writes a stream of tokens as a set of shards `<prefix>_000000.bin`, `<prefix>_000001.bin` ... of
/// `shardTokens` tokens each, the last one shorter.
///
/// The shards are written in a hidden folder inside `folder` and move to their places together, at
/// the end: a run that is stopped or killed leaves nothing that looks like a set. (Should the
/// machine stop in the middle of those renames, the shards' numbers show it: `TokenDataset` refuses
/// a set with a gap or without its last shard.)
final class ShardWriter {
    private let folder: String
    private let prefix: String
    private let shardTokens: Int
    private let extras: ShardHeader.Extras
    private let staging: String
    private let lock: FolderLock
    private let madeFolder: Bool

    private var names: [String] = []
    private var file: AtomicFile?
    private var buffer: [UInt16] = []
    private var count = 0
    private var checksum: UInt32 = 0

    /// `force` replaces shards of the same prefix, which are an error otherwise.
    init(
        folder: String, prefix: String, shardTokens: Int, vocabularySize: Int, endOfTextID: Int32,
        tokenizerFingerprint: UInt64, force: Bool
    ) throws {
        if !(1...ShardHeader.maximalTokenCount).contains(shardTokens) {
            throw UserError(
                .usage, "a shard of \(shardTokens) tokens: it can have 1 to \(ShardHeader.maximalTokenCount)",
                hint: "such as --shard-tokens 100000000, 200 MB")
        }
        if prefix.isEmpty || prefix.hasPrefix(".") || prefix.contains(/[\/*?\[\]\p{Cc}]/) {
            throw UserError(
                .usage,
                "a prefix of \(prefix.debugDescription): it begins the names of files, and so has no slash, "
                    + "no sign of a glob, no control character and no dot in front", hint: "such as --prefix train")
        }
        self.folder = folder
        self.prefix = prefix
        self.shardTokens = shardTokens
        extras = ShardHeader.Extras(
            vocabularySize: vocabularySize, checksum: 0, endOfTextID: endOfTextID,
            tokenizerFingerprint: tokenizerFingerprint, index: 0, isLast: false)
        staging = folder + "/.\(prefix).tmp-tokenize"
        madeFolder = access(folder, F_OK) != 0
        try makeFolder(folder)
        if !force, let present = Self.shards(in: folder, prefix: prefix).first {
            throw UserError(
                .usage, "\(folder) already holds shards: \(present)",
                hint: "choose another --output or --prefix, or replace them with --force")
        }
        // What it holds is removed below.
        try makeOwnFolder(staging)
        lock = try FolderLock(staging, option: "--output or --prefix", for: "writing shards")
        // What a killed run left.
        for name in (try? folderContents(staging)) ?? [] where name != ".lock" {
            try? FileManager.default.removeItem(atPath: staging + "/" + name)
        }
        buffer.reserveCapacity(Self.bufferCount)
    }

    deinit {
        file = nil
        try? FileManager.default.removeItem(atPath: staging)
        // Goes only where it is empty: no shard was written.
        if madeFolder { rmdir(folder) }
    }

    private static let bufferCount = 1 << 19

    func write(_ tokens: UnsafeBufferPointer<UInt16>) throws {
        var rest = tokens[...]
        while !rest.isEmpty {
            // A full shard ends only when more follows, so that the last one is known as such.
            if count == shardTokens { try endShard(isLast: false) }
            let part = rest.prefix(min(shardTokens - count, Self.bufferCount - buffer.count))
            buffer.append(contentsOf: part)
            count += part.count
            rest = rest.dropFirst(part.count)
            if buffer.count == Self.bufferCount { try flush() }
        }
    }

    /// Ends the last shard and moves all to their places; their paths.
    func finish() throws -> [String] {
        if count == 0, names.isEmpty { return [] }
        try endShard(isLast: true)
        for name in Self.shards(in: folder, prefix: prefix) { try AtomicFile.remove(folder + "/" + name) }
        for name in names where rename(staging + "/" + name, folder + "/" + name) != 0 {
            throw UserError.system("create", folder + "/" + name, code: errno)
        }
        try AtomicFile.synchronizeFolder(of: folder + "/" + prefix)
        return names.map { Files.path(of: $0, in: folder) }
    }

    private var nextName: String { String(format: "%@_%06d.bin", prefix, names.count) }

    private func flush() throws {
        if file == nil {
            file = try AtomicFile(path: staging + "/" + nextName)
            try ShardHeader(tokenCount: 0, extras: nil).bytes.withUnsafeBytes { try file?.write($0) }
        }
        try buffer.withUnsafeBytes { bytes in
            checksum = crc32(bytes, continuing: checksum)
            try file?.write(bytes)
        }
        buffer.removeAll(keepingCapacity: true)
    }

    private func endShard(isLast: Bool) throws {
        try flush()
        var extras = extras
        extras.checksum = checksum
        extras.index = names.count
        extras.isLast = isLast
        try ShardHeader(tokenCount: count, extras: extras).bytes.withUnsafeBytes {
            try file?.overwrite(at: 0, with: $0)
        }
        try file?.commit()
        names.append(nextName)
        (file, count, checksum) = (nil, 0, 0)
    }

    /// Names of the shards of a set: the prefix, `_`, digits, `.bin`.
    private static func shards(in folder: String, prefix: String) -> [String] {
        ((try? folderContents(folder)) ?? []).filter { name in
            guard name.hasPrefix(prefix + "_"), name.hasSuffix(".bin") else { return false }
            let digits = name.dropFirst(prefix.count + 1).dropLast(4)
            return !digits.isEmpty && digits.allSatisfy(\.isNumber)
        }.sorted()
    }
}
