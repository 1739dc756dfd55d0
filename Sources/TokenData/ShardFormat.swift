import Console

/// The header of a token shard, the layout of llm.c and modded-nanogpt: 256 little-endian int32, then
/// `tokenCount` little-endian uint16. They use the first three words; ours follow where theirs are 0.
///
/// | word | content |
/// |---|---|
/// | 0 | 20240520 |
/// | 1 | 1, the version |
/// | 2 | number of tokens |
/// | 3 | size of the tokenizer's vocabulary; 0 in a file of others, whose further words mean nothing |
/// | 4 | CRC-32 of the payload |
/// | 5 | end-of-text id |
/// | 6, 7 | fingerprint of the tokenizer, low half first |
/// | 8 | index of the shard in its set, from 0 |
/// | 9 | 1 in the last shard of the set, else 0 |
struct ShardHeader: Equatable {
    static let magic: UInt32 = 20_240_520
    static let version: UInt32 = 1
    static let byteCount = 1024
    static let maximalTokenCount = Int(Int32.max)
    /// Ids are uint16.
    static let maximalVocabularySize = 1 << 16

    var tokenCount: Int
    var extras: Extras?

    struct Extras: Equatable {
        var vocabularySize: Int
        var checksum: UInt32
        var endOfTextID: Int32
        var tokenizerFingerprint: UInt64
        var index: Int
        var isLast: Bool
    }

    var bytes: [UInt8] {
        var words = [UInt32](repeating: 0, count: 256)
        words[0] = Self.magic
        words[1] = Self.version
        words[2] = UInt32(tokenCount)
        if let extras {
            words[3] = UInt32(extras.vocabularySize)
            words[4] = extras.checksum
            words[5] = UInt32(bitPattern: extras.endOfTextID)
            words[6] = UInt32(truncatingIfNeeded: extras.tokenizerFingerprint)
            words[7] = UInt32(extras.tokenizerFingerprint >> 32)
            words[8] = UInt32(extras.index)
            words[9] = extras.isLast ? 1 : 0
        }
        return words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
    }

}

extension ShardHeader {
    /// Reads the header of the shard `path` from the file's first bytes, and checks it against the file's size.
    init(of file: UnsafeRawBufferPointer, fileSize: Int, path: String) throws {
        func word(_ index: Int) -> UInt32 {
            UInt32(littleEndian: file.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
        }
        let remake = "make it again with `cosmos-train tokenize`"
        if file.isEmpty { throw UserError(.data, "\(path) is empty: not a token shard", hint: remake) }
        if file.count < 4 || word(0) != Self.magic {
            let found = file.count < 4 ? "it has \(file.count) bytes" : "magic number \(word(0)) at offset 0"
            throw UserError(
                .data, "\(path) is not a token shard: \(found) instead of \(Self.magic)",
                hint: "a shard is what `cosmos-train tokenize` or llm.c's scripts write")
        }
        if file.count < Self.byteCount {
            throw UserError(
                .data, "\(path) is truncated: \(file.count) bytes, less than a header's \(Self.byteCount)",
                hint: "copy it again, or " + remake)
        }
        if word(1) != Self.version {
            throw UserError(
                .data, "\(path) has shard version \(word(1)) at offset 4; this program reads version \(Self.version)",
                hint: remake)
        }
        guard let count = Int32(exactly: word(2)) else {
            throw UserError(
                .data, "\(path) has an impossible token count, \(Int32(bitPattern: word(2))), at offset 8", hint: remake
            )
        }
        tokenCount = Int(count)
        let expected = Self.byteCount + 2 * tokenCount
        if fileSize != expected {
            throw UserError(
                .data,
                "\(path) is \(fileSize < expected ? "truncated" : "too long"): it has \(fileSize) bytes, "
                    + "and its header's \(tokenCount) tokens make \(expected)",
                hint: "copy it again, or " + remake)
        }
        if tokenCount == 0 { throw UserError(.data, "\(path) is empty: it has no tokens", hint: remake) }
        if word(3) == 0 { return }
        guard word(3) <= Self.maximalVocabularySize else {
            throw UserError(
                .data,
                "\(path) has an impossible vocabulary size, \(Int32(bitPattern: word(3))), at offset 12: "
                    + "16-bit tokens allow \(Self.maximalVocabularySize)", hint: remake)
        }
        guard word(5) < word(3) else {
            throw UserError(
                .data,
                "\(path) has an impossible end-of-text id, \(Int32(bitPattern: word(5))), at offset 20: "
                    + "its vocabulary has the ids 0 to \(word(3) - 1)", hint: remake)
        }
        extras = Extras(
            vocabularySize: Int(word(3)), checksum: word(4), endOfTextID: Int32(bitPattern: word(5)),
            tokenizerFingerprint: UInt64(word(7)) << 32 | UInt64(word(6)), index: Int(word(8)), isLast: word(9) == 1)
    }
}
