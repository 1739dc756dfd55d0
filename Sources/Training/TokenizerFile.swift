import Configuration
import Foundation
import TokenData

/// A tokenizer as it goes into every checkpoint: the bytes of its `.model` file, its special ids, and
/// what Hugging Face needs to load it. Read once, so that a file moved during the run harms nothing.
public struct TokenizerFile: Sendable {
    public let bytes: [UInt8]
    public let beginOfTextID: Int32?
    public let endOfTextID: Int32?
    public let padID: Int32?
    /// `tokenizer_config.json`, nil where no class of transformers computes what the model does.
    let configuration: Data?

    public init(_ tokenizer: Tokenizer) throws {
        bytes = try RegularFile.contents(of: tokenizer.modelFile, limit: 1 << 30)
        beginOfTextID = tokenizer.beginOfTextID
        endOfTextID = tokenizer.endOfTextID
        padID = tokenizer.padID
        configuration = try SentencePieceKind(bytes).flatMap { try Self.configuration(tokenizer, $0) }
    }

    /// The files of a model's folder, by name.
    var files: [(name: String, bytes: Data)] {
        [("tokenizer.model", Data(bytes))] + (configuration.map { [("tokenizer_config.json", $0)] } ?? [])
    }

    /// T5's class reads Unigram models and thinks of 2 as unknown; LLaMA's reads byte-pair models that
    /// leave the text as it is and write foreign characters as bytes. Others would be loaded without a
    /// word and encode differently, so nothing is said of them.
    private static func configuration(_ tokenizer: Tokenizer, _ kind: SentencePieceKind) throws -> Data? {
        func piece(_ id: Int32?) -> JSONValue { id.map { .string(tokenizer.piece($0)) } ?? .null }
        var fields: [String: JSONValue] = [
            "bos_token": piece(tokenizer.beginOfTextID), "eos_token": piece(tokenizer.endOfTextID),
            "pad_token": piece(tokenizer.padID), "unk_token": piece(tokenizer.unknownID),
        ]
        switch (kind.modelType, kind.hasByteFallback, kind.normalizes) {
        case (SentencePieceKind.unigram, false, true) where tokenizer.unknownID == 2:
            fields["tokenizer_class"] = .string("T5Tokenizer")
            fields["extra_ids"] = .integer(0)
        case (SentencePieceKind.bytePair, true, false):
            fields["tokenizer_class"] = .string("LlamaTokenizer")
            fields["legacy"] = .bool(false)
            // As the shards are made: a document has no begin-of-text id.
            fields["add_bos_token"] = .bool(false)
        default: return nil
        }
        return try JSONFile.encode(fields)
    }
}

/// What a SentencePiece model computes, from its file: a `ModelProto` (sentencepiece_model.proto).
private struct SentencePieceKind {
    static let unigram: UInt64 = 1
    static let bytePair: UInt64 = 2
    private(set) var modelType = unigram
    private(set) var hasByteFallback = false
    /// Whether text goes through a table of replacements, such as NFKC.
    private(set) var normalizes = false

    /// Nil where the bytes do not read.
    init?(_ bytes: [UInt8]) {
        guard let model = ProtocolBuffer.fields(bytes[...]) else { return nil }
        for case (let number, .bytes(let message)) in model where number == 2 || number == 3 {
            guard let fields = ProtocolBuffer.fields(message) else { return nil }
            for field in fields {
                switch (number, field.number, field.value) {
                // TrainerSpec: model_type; byte_fallback.
                case (2, 3, .integer(let type)): modelType = type
                case (2, 35, .integer(let flag)): hasByteFallback = flag != 0
                // NormalizerSpec: precompiled_charsmap.
                case (3, 2, .bytes(let table)): normalizes = !table.isEmpty
                default: break
                }
            }
        }
    }
}
