import Console
import ModelFiles
import TokenData

/// The tokenizer that ids mean text by, as far as it is known, and what it is the tokenizer of. The same ids
/// of another one would be other text, and every number that comes of them meaningless.
public struct TokenizerOrigin: Sendable {
    private let fingerprint: UInt64
    /// For messages.
    private let owner: String

    private init(_ fingerprint: UInt64, of owner: String) { (self.fingerprint, self.owner) = (fingerprint, owner) }

    public init(_ tokenizer: Tokenizer) { self.init(tokenizer.fingerprint, of: tokenizer.modelFile) }

    public init(_ tokenizer: TokenizerFile) { self.init(tokenizer.fingerprint, of: tokenizer.path) }

    /// Nil where the shards do not say.
    public init?(_ dataset: TokenDataset, at path: String) {
        guard let fingerprint = dataset.tokenizerFingerprint else { return nil }
        self.init(fingerprint, of: "the shards of \(path)")
    }

    /// The origin of a model: its tokenizer's file, or what its checkpoint says of its data; nil where neither is known.
    package init?(_ folder: ModelFolder) throws {
        if let tokenizer = try folder.loadTokenizer() {
            self.init(tokenizer)
        } else {
            try self.init(folder.trainerState(), of: folder.path)
        }
    }

    /// What a checkpoint says of the tokens that its model was trained on.
    init?(_ state: TrainerState?, of checkpoint: String) {
        guard let fingerprint = state?.data.tokenizerFingerprint else { return nil }
        self.init(fingerprint, of: "the model of \(checkpoint)")
    }

    /// Refuses to use things of different tokenizers together.
    public static func check(_ origins: [TokenizerOrigin?], hint: String) throws {
        let known = origins.compactMap { $0 }
        guard let other = known.first(where: { $0.fingerprint != known[0].fingerprint }) else { return }
        throw UserError(.data, "\(known[0].owner) and \(other.owner) have different tokenizers", hint: hint)
    }
}
