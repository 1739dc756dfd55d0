import Configuration
import Glibc

/// One mapped file.
final class Shard {
    let path: String
    let header: ShardHeader
    let payload: UnsafeRawBufferPointer
    let tokens: UnsafeBufferPointer<UInt16>
    private let map: UnsafeRawBufferPointer

    init(_ path: String) throws {
        self.path = path
        map = try RegularFile(path).map()
        do {
            header = try ShardHeader(of: map, path: path)
        } catch {
            if !map.isEmpty { munmap(UnsafeMutableRawPointer(mutating: map.baseAddress), map.count) }
            throw error
        }
        payload = UnsafeRawBufferPointer(rebasing: map[ShardHeader.byteCount...])
        tokens = payload.bindMemory(to: UInt16.self)
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

    deinit { munmap(UnsafeMutableRawPointer(mutating: map.baseAddress), map.count) }
}

/// What the headers of shards say about each other.
struct ShardSet {
    var tokenizerFingerprint: UInt64?
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
