import Foundation
import TokenData

/// `tokenizer.json`: a SentencePiece model as Hugging Face's `tokenizers` computes it, with the same ids for
/// every text; where it cannot, a file that says so in words when it is opened.
///
/// Spaces stand in its vocabulary as themselves, not as U+2581, so that U+2581 remains a character like others.
///
/// * Byte pairs. SentencePiece merges the two neighbours that make the piece of the highest score, of several
///   the leftmost; `tokenizers` the pair of the lowest rank. So a pair's rank is by its piece's score. Pairs that
///   make the same piece can only meet as p q r with pq = qr; then pq is left, and must come first.
/// * Unigram. Both look for the best sum of scores, and of equal ones take the same. But SentencePiece adds in
///   float32, `tokenizers` in float64: that gives the same where no sum is rounded
///   (`SentencePieceModel.scoreStep`). `tokenizers` also finds special pieces in text by their names; a score
///   that the characters of the name beat prevents it.
struct TokenizerJSON {
    let model: SentencePieceModel

    /// A score that no text of a special piece's name reaches.
    private static let unreachable = -1_000_000.0

    /// Why `tokenizers` would give other ids, nil where it gives the same.
    private var obstacle: String? {
        if model.replacesCharacters { return "it replaces characters (\(model.normalization))" }
        if model.removesSpaces { return "it joins spaces" }
        if model.hasSpaceAsSuffix || !model.escapesSpaces { return "it treats spaces in its own way" }
        guard model.modelType == .unigram || model.modelType == .bytePair else { return "it is of words or characters" }
        if model.pieces.contains(where: { $0.type == .userDefined || $0.type == .unused }) {
            return "it has pieces that are user-defined or unused"
        }
        let normal = model.pieces.filter { $0.type == .normal }
        let mark = spaceMark[...]
        for piece in normal {
            var rest = piece.text
            while rest.starts(with: mark) { rest = rest.dropFirst(mark.count) }
            if !Self.characters(rest).allSatisfy({ $0 != mark }) { return "its pieces have spaces within" }
        }
        if model.modelType == .bytePair { return nil }
        // The lowest score less SentencePiece's penalty of 10 for an unknown character, times a piece of text,
        // must be a number of steps that float32 holds.
        guard
            normal.allSatisfy({
                $0.score > -22
                    && ($0.score / SentencePieceModel.scoreStep).rounded() * SentencePieceModel.scoreStep == $0.score
            })
        else { return "the scores of its pieces are not rounded" }
        let characters = Set(normal.map(\.text))
        let names = model.pieces.filter { $0.type != .normal }.flatMap { Self.characters($0.text) }
        return names.allSatisfy(characters.contains) ? nil : "its vocabulary lacks characters of special pieces' names"
    }

    var data: Data {
        if let obstacle {
            // Read before anything else, and shown in the error.
            let words =
                "none: transformers would give other ids than tokenizer.model, because \(obstacle). "
                + "Use the sentencepiece package on tokenizer.model"
            return Data(#"{"version":\#(Self.string(Array(words.utf8)[...])),"added_tokens":[]}\#n"#.utf8)
        }
        let word = " {1,\(wordLimit)}[^ ]{0,\(wordLimit)}|[^ ]{1,\(wordLimit)}"
        var normalizers: [String] = []
        if model.prependsSpace { normalizers.append(#"{"type":"Prepend","prepend":" "}"#) }
        if !model.losses.isEmpty {
            normalizers.append(#"{"type":"Replace","pattern":{"String":"\u2581"},"content":" "}"#)
        }
        var decoders = [#"{"type":"ByteFallback"}"#, #"{"type":"Fuse"}"#]
        if model.prependsSpace { decoders.append(#"{"type":"Strip","content":" ","start":1,"stop":0}"#) }
        let special = model.pieces.enumerated().filter { $0.element.type == .control || $0.element.type == .unknown }
            .map {
                #"{"id":\#($0.offset),"content":\#(Self.string($0.element.text)),"single_word":false,"lstrip":false,"#
                    + #""rstrip":false,"normalized":false,"special":true}"#
            }
        return Data(
            """
            {"version":"1.0","truncation":null,"padding":null,
            "added_tokens":[\(special.joined(separator: ","))],
            "normalizer":{"type":"Sequence","normalizers":[\(normalizers.joined(separator: ","))]},
            "pre_tokenizer":{"type":"Split","pattern":{"Regex":"\(word)"},"behavior":"Isolated","invert":false},
            "post_processor":null,
            "decoder":{"type":"Sequence","decoders":[\(decoders.joined(separator: ","))]},
            "model":\(model.modelType == .bytePair ? bytePairModel : unigramModel)}

            """.utf8)
    }

    /// The text of pieces: normal ones with spaces, special ones as they are.
    private var texts: [ArraySlice<UInt8>] {
        model.pieces.map { piece in
            guard piece.type == .normal else { return piece.text }
            return Self.characters(piece.text).flatMap { $0 == spaceMark[...] ? [0x20] : $0 }[...]
        }
    }

    private var bytePairModel: String {
        let texts = texts
        let normal = texts.indices.filter { model.pieces[$0].type == .normal }
        let known = Set(normal.map { texts[$0] })
        var merges: [(score: Float, isSecond: Bool, left: ArraySlice<UInt8>, right: ArraySlice<UInt8>)] = []
        for index in normal {
            let text = texts[index]
            for cut in text.indices.dropFirst() where text[cut] & 0xC0 != 0x80 {
                let (left, right) = (text[..<cut], text[cut...])
                guard known.contains(left), known.contains(right) else { continue }
                merges.append((model.pieces[index].score, !text.starts(with: right), left, right))
            }
        }
        // A stable order: the cuts of a piece follow each other from left to right.
        let order = merges.indices.sorted {
            let (a, b) = (merges[$0], merges[$1])
            if a.score != b.score { return a.score > b.score }
            return a.isSecond != b.isSecond ? !a.isSecond : $0 < $1
        }
        let pairs = order.map { "[\(Self.string(merges[$0].left)),\(Self.string(merges[$0].right))]" }
        let vocabulary = texts.enumerated().map { "\(Self.string($0.element)):\($0.offset)" }
        return """
            {"type":"BPE","dropout":null,"unk_token":\(unknown.map { Self.string(texts[$0]) } ?? "null"),
            "continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,
            "byte_fallback":\(model.hasByteFallback),"ignore_merges":false,
            "vocab":{\(vocabulary.joined(separator: ",\n"))},
            "merges":[\(pairs.joined(separator: ",\n"))]}
            """
    }

    private var unigramModel: String {
        let entries = zip(texts, model.pieces).map { text, piece in
            "[\(Self.string(text)),\(piece.type == .normal ? Double(piece.score) : Self.unreachable)]"
        }
        return """
            {"type":"Unigram","unk_id":\(unknown.map(String.init) ?? "null"),"byte_fallback":\(model.hasByteFallback),
            "vocab":[\(entries.joined(separator: ",\n"))]}
            """
    }

    private var unknown: Int? { model.pieces.firstIndex { $0.type == .unknown } }

    private static func characters(_ text: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        let starts = text.indices.filter { text[$0] & 0xC0 != 0x80 }
        return zip(starts, starts.dropFirst() + [text.endIndex]).map { text[$0..<$1] }
    }

    /// A JSON string. Not by way of `String` keys: those that are canonically equivalent are equal in Swift.
    private static func string(_ text: ArraySlice<UInt8>) -> String {
        var escaped: [UInt8] = []
        for byte in text {
            switch byte {
            case 0x22, 0x5C: escaped += [0x5C, byte]
            case ..<0x20:
                escaped += Array((byte < 0x10 ? "\\u000" : "\\u00").utf8) + Array(String(byte, radix: 16).utf8)
            default: escaped.append(byte)
            }
        }
        return "\"\(String(decoding: escaped, as: UTF8.self))\""
    }
}
