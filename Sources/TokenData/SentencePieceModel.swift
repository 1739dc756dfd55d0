/// What a SentencePiece model computes, from its file: a `ModelProto` (sentencepiece_model.proto).
package struct SentencePieceModel {
    package enum ModelType: UInt64 { case unigram = 1, bytePair, word, character }
    package enum PieceType: UInt64 { case normal = 1, unknown, control, userDefined, unused, byte }

    package struct Piece {
        package var text: ArraySlice<UInt8> = []
        package var score: Float = 0
        package var type = PieceType.normal
    }

    package private(set) var pieces: [Piece] = []
    package private(set) var modelType = ModelType.unigram
    /// Whether characters outside the vocabulary become their UTF-8 bytes.
    package private(set) var hasByteFallback = false
    /// Whether words have their space at the end.
    package private(set) var hasSpaceAsSuffix = false
    package private(set) var normalization = ""
    /// Whether text goes through a table of replacements, before it is encoded or after it is decoded.
    package private(set) var replacesCharacters = false
    /// Whether a space is put before the text.
    package private(set) var prependsSpace = true
    /// Whether spaces at both ends, and all but one of several, are dropped.
    package private(set) var removesSpaces = true
    /// Whether spaces become U+2581.
    package private(set) var escapesSpaces = true

    /// Nil where the bytes do not read.
    package init?(_ bytes: [UInt8]) {
        guard let model = ProtocolBuffer.fields(bytes[...]) else { return nil }
        for case (let part, .bytes(let message)) in model {
            guard (1...3).contains(part) || part == 5 else { continue }
            guard let fields = ProtocolBuffer.fields(message) else { return nil }
            if part == 1 { pieces.append(Piece()) }
            for field in fields {
                switch (part, field.number, field.value) {
                case (1, 1, .bytes(let text)): pieces[pieces.count - 1].text = text
                case (1, 2, .fixed32(let bits)): pieces[pieces.count - 1].score = Float(bitPattern: bits)
                case (1, 3, .integer(let type)):
                    guard let type = PieceType(rawValue: type) else { return nil }
                    pieces[pieces.count - 1].type = type
                // TrainerSpec
                case (2, 3, .integer(let type)):
                    guard let type = ModelType(rawValue: type) else { return nil }
                    modelType = type
                case (2, 24, .integer(let flag)): hasSpaceAsSuffix = flag != 0
                case (2, 35, .integer(let flag)): hasByteFallback = flag != 0
                // NormalizerSpec
                case (3, 1, .bytes(let name)): normalization = String(decoding: name, as: UTF8.self)
                case (3, 2, .bytes(let table)), (5, 2, .bytes(let table)):
                    replacesCharacters = replacesCharacters || !table.isEmpty
                case (3, 3, .integer(let flag)): prependsSpace = flag != 0
                case (3, 4, .integer(let flag)): removesSpaces = flag != 0
                case (3, 5, .integer(let flag)): escapesSpaces = flag != 0
                default: break
                }
            }
        }
    }

    /// What text may lose on the way to ids and back, in words; nothing: every byte returns.
    package var losses: [String] {
        var losses: [String] = []
        if replacesCharacters { losses.append("characters are replaced (\(normalization))") }
        if removesSpaces { losses.append("spaces are joined and those at the ends dropped") }
        if !hasByteFallback { losses.append("characters outside the vocabulary become <unk>") }
        // Of note only where nothing else is lost.
        if losses.isEmpty, prependsSpace || !escapesSpaces { losses.append("U+2581 becomes a space") }
        return losses
    }

    /// The size of a step between scores of Unigram models that are trained here.
    package static let scoreStep: Float = 1 / 32

    /// The same model with scores that are multiples of `scoreStep`. Then no sum of the scores of a text of
    /// `textPieceSize` bytes is rounded, in whatever precision: all programs find the same best pieces, of
    /// several that are equal, too.
    static func roundingScores(_ bytes: [UInt8]) -> [UInt8] {
        guard let model = ProtocolBuffer.fields(bytes[...]) else { preconditionFailure("no SentencePiece model") }
        return ProtocolBuffer.encode(
            model.map { part in
                guard part.number == 1, case .bytes(let message) = part.value,
                    let fields = ProtocolBuffer.fields(message)
                else { return part }
                let rounded = fields.map { field in
                    guard field.number == 2, case .fixed32(let bits) = field.value else { return field }
                    let score = (Float(bitPattern: bits) / scoreStep).rounded() * scoreStep
                    return (field.number, .fixed32(score.bitPattern))
                }
                return (part.number, .bytes(ProtocolBuffer.encode(rounded)[...]))
            })
    }
}
