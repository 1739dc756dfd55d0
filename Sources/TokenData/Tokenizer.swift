import CSentencePiece
import Console
import Files
import Glibc
import TensorCore

/// A SentencePiece model: text to token ids and back. Encoding and decoding are safe from any number
/// of threads at once.
public final class Tokenizer: @unchecked Sendable {
    public let modelFile: String
    public let vocabularySize: Int
    /// A hash of the model file's bytes: tells shards of one tokenizer from another's.
    public let fingerprint: UInt64
    /// The ids of special tokens, nil where the model has none. `</s>`, T5's and LLaMA's end of text:
    public let endOfTextID: Int32?
    /// `<s>`
    public let beginOfTextID: Int32?
    /// `<pad>`
    public let padID: Int32?
    /// `<unk>`, what a character outside the vocabulary becomes.
    public let unknownID: Int32?
    /// What text may lose on the way to ids and back, in words; nothing: every byte returns.
    public let losses: [String]
    /// Whether the model sees text as if a space stood before it, as most of others do.
    private let prependsSpace: Bool
    /// The ids of U+2581's bytes where the model keeps every byte of text; else empty. SentencePiece writes
    /// spaces as U+2581, and so would take one for a space.
    private let markIDs: [Int32]

    // Immutable after loading; the library's encode and decode are const.
    private let model: OpaquePointer

    /// Reads a `.model` file: T5's, LLaMA's or one's own.
    public init(modelFile path: String) throws {
        let bytes = try RegularFile.contents(of: path, limit: 1 << 30)
        let hint =
            "give a SentencePiece model (T5's spiece.model, LLaMA's tokenizer.model, or what "
            + "`cosmos-train tokenizer` makes); with a tokenizer.json, scripts/import_data.py makes shards"
        if bytes.isEmpty { throw UserError(.data, "\(path) is empty: not a tokenizer", hint: hint) }
        let kind = SentencePieceModel(bytes)
        guard let kind, let model = cosmos_sentencepiece_load(bytes, bytes.count) else {
            let reason = kind == nil ? "" : " (\(sentencePieceReason()))"
            throw UserError(
                .data,
                "\(path) is not a SentencePiece model: its \(bytes.count) bytes cannot be read as one\(reason)",
                hint: hint)
        }
        self.model = model
        (losses, prependsSpace) = (kind.losses, kind.prependsSpace)
        modelFile = path
        vocabularySize = Int(cosmos_sentencepiece_size(model))
        fingerprint = Self.fingerprint(of: bytes)
        func id(_ raw: Int32) -> Int32? { raw < 0 ? nil : raw }
        endOfTextID = id(cosmos_sentencepiece_end_id(model))
        beginOfTextID = id(cosmos_sentencepiece_begin_id(model))
        padID = id(cosmos_sentencepiece_pad_id(model))
        unknownID = id(cosmos_sentencepiece_unknown_id(model))
        func byteID(_ byte: UInt8) -> Int32 {
            let name = "<0x\(String(byte, radix: 16, uppercase: true))>"
            return cosmos_sentencepiece_id(model, name, name.utf8.count)
        }
        markIDs = losses.isEmpty ? spaceMark.map(byteID) : []
    }

    deinit { cosmos_sentencepiece_free(model) }

    /// 64-bit FNV-1a.
    package static func fingerprint(of bytes: [UInt8]) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    /// The ids of `text`, without special tokens.
    public func encode(_ text: String) throws -> [Int32] {
        var text = text
        var ids: [Int32] = []
        try text.withUTF8 { try encode($0) { ids += $0 } }
        return ids
    }

    /// Encodes valid UTF-8, and hands the ids to `body` in parts, for which alone they are there.
    /// `isContinuation`: the text goes on where another, cut by `pieceEnd`, ended.
    func encode(
        _ text: UnsafeBufferPointer<UInt8>, isContinuation: Bool = false,
        _ body: (UnsafeBufferPointer<Int32>) throws -> Void
    ) throws {
        var (start, isContinuation) = (0, isContinuation)
        while start < text.count {
            let end = pieceEnd(UnsafeRawBufferPointer(text), from: start) ?? text.count
            if isContinuation, prependsSpace, text[start] == 0x20 { start += 1 }
            var piece = text[start..<end]
            while !markIDs.isEmpty, let mark = Self.firstMark(in: UnsafeBufferPointer(rebasing: piece)) {
                try encode(piece: UnsafeBufferPointer(rebasing: piece.prefix(mark)), body)
                try markIDs.withUnsafeBufferPointer(body)
                piece = piece.dropFirst(mark + spaceMark.count)
            }
            try encode(piece: UnsafeBufferPointer(rebasing: piece), body)
            (start, isContinuation) = (end, true)
        }
    }

    private static func firstMark(in text: UnsafeBufferPointer<UInt8>) -> Int? {
        guard let base = text.baseAddress else { return nil }
        var start = 0
        while let found = memchr(base + start, Int32(spaceMark[0]), text.count - start) {
            start = UnsafeRawPointer(found) - UnsafeRawPointer(base)
            if text[start...].starts(with: spaceMark) { return start }
            start += 1
        }
        return nil
    }

    private func encode(
        piece: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<Int32>) throws -> Void
    ) throws {
        guard let base = piece.baseAddress, piece.count > 0 else { return }
        var count = 0
        let ids = base.withMemoryRebound(to: CChar.self, capacity: piece.count) {
            cosmos_sentencepiece_encode(model, $0, piece.count, &count)
        }
        guard let ids else { throw UserError(.data, "\(modelFile) cannot encode text: \(sentencePieceReason())") }
        try body(UnsafeBufferPointer(start: ids, count: count))
    }

    /// The text of ids. Special tokens give none; a byte sequence that is not UTF-8 gives U+FFFD.
    public func decode(_ ids: [Int32]) throws -> String {
        for id in ids where id < 0 || id >= vocabularySize {
            throw UserError(
                .data, "token id \(id) is outside the vocabulary of \(modelFile), which has \(vocabularySize) ids",
                hint: "use the tokenizer that the ids were made with")
        }
        var length = 0
        guard let text = cosmos_sentencepiece_decode(model, ids, ids.count, &length) else {
            throw UserError(.data, "\(modelFile) cannot decode ids: \(sentencePieceReason())")
        }
        return String(decoding: UnsafeRawBufferPointer(start: text, count: length), as: UTF8.self)
    }

    /// The piece of an id as the model writes it: "\u{2581}the" for " the".
    public func piece(_ id: Int32) -> String {
        require(id >= 0 && id < vocabularySize, "token id \(id) of a vocabulary of \(vocabularySize)")
        var length = 0
        let bytes = cosmos_sentencepiece_piece(model, id, &length)
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: length), as: UTF8.self)
    }
}

/// U+2581, which SentencePiece writes for a space.
package let spaceMark = Array("\u{2581}".utf8)

/// Why SentencePiece's last call on this thread failed, without the place in its sources.
private func sentencePieceReason() -> String {
    let text = String(cString: cosmos_sentencepiece_error())
    // "INTERNAL: src/unigram_model_trainer.cc(600) [condition] explanation"
    guard let place = text.range(of: ".cc("), let end = text[place.upperBound...].firstIndex(of: ")") else {
        return text
    }
    let rest = text[text.index(after: end)...].drop { $0 == " " }
    guard rest.first == "[", let close = rest.range(of: "] ") else { return String(rest) }
    let explanation = rest[close.upperBound...]
    return explanation.isEmpty
        ? "check failed: " + rest.dropFirst().prefix { $0 != "(" && $0 != "]" } : String(explanation)
}

/// Runs SentencePiece's trainer on the sentences that `next` gives until nil, and returns the bytes
/// of the model file. Arguments as spm_train has them, without dashes. One training at a time.
func trainSentencePiece(
    arguments: [(key: String, value: String)], seed: UInt32, next: @escaping () throws -> [UInt8]?
) throws -> [UInt8] {
    /// What C hands back to Swift: the source of sentences, the one now lent out, and what it threw.
    final class Source {
        let next: () throws -> [UInt8]?
        var sentence = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 0)
        var failure: (any Error)?
        init(next: @escaping () throws -> [UInt8]?) { self.next = next }
        deinit { sentence.deallocate() }

        func lendNext(_ text: UnsafeMutablePointer<UnsafePointer<CChar>?>, _ length: UnsafeMutablePointer<Int>) -> Int32
        {
            do {
                guard let bytes = try next() else { return 0 }
                if sentence.count < bytes.count {
                    sentence.deallocate()
                    sentence = .allocate(capacity: 2 * bytes.count)
                }
                UnsafeMutableRawBufferPointer(sentence).copyBytes(from: bytes)
                text.pointee = UnsafePointer(sentence.baseAddress)
                length.pointee = bytes.count
                return 1
            } catch {
                failure = error
                return -1
            }
        }
    }
    let source = Source(next: next)
    let keys = arguments.map { strdup($0.key) }
    let values = arguments.map { strdup($0.value) }
    defer { for string in keys + values { free(string) } }
    var count = 0
    let model = keys.map { UnsafePointer<CChar>($0) }.withUnsafeBufferPointer { keys in
        values.map { UnsafePointer<CChar>($0) }.withUnsafeBufferPointer { values in
            cosmos_sentencepiece_train(
                keys.baseAddress, values.baseAddress, arguments.count, seed,
                { context, text, length in
                    guard let context, let text, let length else { return -1 }
                    return Unmanaged<Source>.fromOpaque(context).takeUnretainedValue().lendNext(text, length)
                }, Unmanaged.passUnretained(source).toOpaque(), &count)
        }
    }
    if let failure = source.failure { throw failure }
    guard let model else { throw SentencePieceFailure(reason: sentencePieceReason()) }
    return withExtendedLifetime(source) { [UInt8](UnsafeRawBufferPointer(start: model, count: count)) }
}

/// What the trainer complained of, in its own words.
struct SentencePieceFailure: Error {
    let reason: String
}
