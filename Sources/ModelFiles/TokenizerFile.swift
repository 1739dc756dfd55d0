import Console
import Files
import Foundation
import LLaMA
import TokenData

/// A tokenizer as it goes into every checkpoint and export: the bytes of its `.model` file, its special ids,
/// and what Hugging Face needs to load it. Read once, so that a file moved during the run harms nothing.
public struct TokenizerFile: Sendable {
    /// The files of a model's folder, by name.
    package let files: [(name: String, bytes: Data)]
    public let beginOfTextID: Int32?
    public let endOfTextID: Int32?
    public let padID: Int32?

    public init(_ tokenizer: Tokenizer) throws {
        let bytes = try RegularFile.contents(of: tokenizer.modelFile, limit: 1 << 30)
        guard let model = SentencePieceModel(bytes) else {
            throw UserError(.data, "\(tokenizer.modelFile) is no longer a SentencePiece model", hint: "copy it again")
        }
        files = [
            ("tokenizer.model", Data(bytes)),
            ("tokenizer.json", TokenizerJSON(model: model).data),
            ("tokenizer_config.json", try Self.configuration(tokenizer)),
        ]
        beginOfTextID = tokenizer.beginOfTextID
        endOfTextID = tokenizer.endOfTextID
        padID = tokenizer.padID
    }

    private static func configuration(_ tokenizer: Tokenizer) throws -> Data {
        func piece(_ id: Int32?) -> JSONValue { id.map { .string(tokenizer.piece($0)) } ?? .null }
        return try JSONFile.encode([
            // The class that computes what tokenizer.json says, and nothing else.
            "tokenizer_class": .string("PreTrainedTokenizerFast"),
            "bos_token": piece(tokenizer.beginOfTextID), "eos_token": piece(tokenizer.endOfTextID),
            "pad_token": piece(tokenizer.padID), "unk_token": piece(tokenizer.unknownID),
            "clean_up_tokenization_spaces": .bool(false),
            // Text that spells a special piece is text.
            "split_special_tokens": .bool(true),
        ])
    }
}

extension Tokenizer {
    /// Refuses a model that does not know all of its ids. It may know more: a vocabulary that is padded.
    package func check(for config: LLaMAConfig, of owner: String) throws {
        guard vocabularySize <= config.vocabSize else {
            throw UserError(
                .data, "\(modelFile) has \(vocabularySize) token ids, \(owner) only \(config.vocabSize)",
                hint: "use the tokenizer that the model was trained with, or a model.vocab_size of \(vocabularySize)")
        }
    }
}
