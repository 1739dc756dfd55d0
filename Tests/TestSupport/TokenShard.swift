import Foundation
import TensorCore
import TokenData

/// Writes a token shard in llm.c's plain format: 256 words of header (magic, version, count), then tokens. With
/// `endOfTextID` it is one of ours, the only one of its set.
public func writeShard(_ tokens: [UInt16], to path: String, endOfTextID: Int32? = nil) throws {
    var header = [Int32](repeating: 0, count: 256)
    header[0] = 20_240_520
    header[1] = 1
    header[2] = Int32(tokens.count)
    if let endOfTextID {
        header[3] = 1 << 16
        header[4] = Int32(bitPattern: tokens.withUnsafeBytes { crc32($0, continuing: 0) })
        header[5] = endOfTextID
        header[9] = 1
    }
    let data = header.withUnsafeBytes { Data($0) } + tokens.withUnsafeBytes { Data($0) }
    try data.write(to: URL(filePath: path))
}

/// Tokens below `vocabulary` in which much can be learned: after a token comes the next one, or a random one.
public func learnableTokens(_ count: Int, vocabulary: Int, seed: UInt64) -> [UInt16] {
    var random = Random(seed: seed, stream: "learnable tokens")
    var token = 0
    return (0..<count).map { _ in
        token = random.uniform() < 0.8 ? (token + 1) % vocabulary : random.below(vocabulary)
        return UInt16(token)
    }
}
