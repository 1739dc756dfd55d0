import Console
import Files
import Foundation
import LLaMA
import TokenData

/// A tokenizer as it goes into every checkpoint and export: the bytes of its file, its special ids, and what Hugging
/// Face needs to load it. Read once, so that a file moved during the run harms nothing.
///
/// The file is a SentencePiece model, or a `tokenizer.json` of which only the ids and their names are understood here:
/// it travels with the model to those who compute it.
public struct TokenizerFile: Sendable {
    /// The file that it was read from.
    package let path: String
    package let fingerprint: UInt64
    package let vocabularySize: Int
    public private(set) var beginOfTextID: Int32?
    /// A tokenizer.json does not say it; the shards do.
    public var endOfTextID: Int32?
    public private(set) var padID: Int32?
    private var unknownID: Int32?
    /// The names of ids, of the special ones at least.
    private let names: [Int32: String]
    /// The files of a model's folder but the one that names the special ids.
    private let texts: [(name: String, bytes: Data)]

    /// Reads either kind.
    public init(_ path: String) throws {
        let bytes = try RegularFile.contents(of: path, limit: 1 << 30)
        if bytes.first == UInt8(ascii: "{") {
            try self.init(json: bytes, path)
        } else {
            try self.init(Tokenizer(modelFile: path))
        }
    }

    private init(json bytes: [UInt8], _ path: String) throws {
        self.path = path
        fingerprint = Tokenizer.fingerprint(of: bytes)
        names = try Self.names(bytes, path)
        vocabularySize = Int(names.keys.max() ?? 0) + 1
        texts = [("tokenizer.json", Data(bytes))]
    }

    package init(_ tokenizer: Tokenizer) throws {
        let bytes = try RegularFile.contents(of: tokenizer.modelFile, limit: 1 << 30)
        guard let model = SentencePieceModel(bytes) else {
            throw UserError(.data, "\(tokenizer.modelFile) is no longer a SentencePiece model", hint: "copy it again")
        }
        path = tokenizer.modelFile
        fingerprint = tokenizer.fingerprint
        vocabularySize = tokenizer.vocabularySize
        texts = [("tokenizer.model", Data(bytes)), ("tokenizer.json", TokenizerJSON(model: model).data)]
        (beginOfTextID, endOfTextID) = (tokenizer.beginOfTextID, tokenizer.endOfTextID)
        (padID, unknownID) = (tokenizer.padID, tokenizer.unknownID)
        let special = [beginOfTextID, endOfTextID, padID, unknownID].compactMap { $0 }
        names = Dictionary(special.map { ($0, tokenizer.piece($0)) }) { first, _ in first }
    }

    /// Of the large files.
    package var byteCount: Int { texts.reduce(0) { $0 + $1.bytes.count } }

    /// The files of a model's folder, by name.
    package var files: [(name: String, bytes: Data)] {
        get throws { texts + [("tokenizer_config.json", try configuration)] }
    }

    private var configuration: Data {
        get throws {
            func name(_ id: Int32?) -> JSONValue { id.flatMap { names[$0] }.map(JSONValue.string) ?? .null }
            return try JSONFile.encode([
                // The class that computes what tokenizer.json says, and nothing else.
                "tokenizer_class": .string("PreTrainedTokenizerFast"),
                "bos_token": name(beginOfTextID), "eos_token": name(endOfTextID), "pad_token": name(padID),
                "unk_token": name(unknownID), "clean_up_tokenization_spaces": .bool(false),
                // Text that spells a special piece is text.
                "split_special_tokens": .bool(true),
            ])
        }
    }

    /// The names of a tokenizer.json's ids: the vocabulary, which is an object of ids or a list in their order, and what
    /// was added to it.
    private static func names(_ bytes: [UInt8], _ path: String) throws -> [Int32: String] {
        func damaged(_ what: String) -> UserError {
            UserError(
                .data, "\(path) is no tokenizer.json: \(what)",
                hint: "give a SentencePiece model, or the tokenizer.json that the shards were made with")
        }
        let json: JSONValue
        do { json = try JSONValue(json: bytes) } catch { throw damaged("\(error)") }
        var names: [Int32: String] = [:]
        func add(_ id: JSONValue, _ name: JSONValue) throws {
            guard case .integer(let id) = id, 0..<1 << 20 ~= id, case .string(let name) = name else {
                throw damaged("it has a piece without a name, or with an impossible id")
            }
            names[Int32(id)] = name
        }
        switch json.model.vocab {
        case .object(let ids): for (name, id) in ids { try add(id, .string(name.text)) }
        case .array(let pieces):
            for (id, piece) in pieces.enumerated() {
                guard case .array(let parts) = piece else { throw damaged("piece \(id) of its list is none") }
                try add(.integer(id), parts.first ?? .null)
            }
        default: throw damaged("there is no vocabulary (model.vocab)")
        }
        if case .array(let added) = json.added_tokens { for token in added { try add(token.id, token.content) } }
        if names.isEmpty { throw damaged("its vocabulary is empty") }
        return names
    }
}

extension LLaMAConfig {
    /// Refuses a model that does not know all ids of the tokenizer in a file. It may know more: a vocabulary that is
    /// padded.
    package func check(vocabulary size: Int, of tokenizer: String, owner: String) throws {
        guard size <= vocabSize else {
            throw UserError(
                .data, "\(tokenizer) has \(size) token ids, \(owner) only \(vocabSize)",
                hint: "use the tokenizer that the model was trained with, or a model.vocab_size of \(size)")
        }
    }
}
