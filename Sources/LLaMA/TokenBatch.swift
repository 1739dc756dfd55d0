/// Tokens to train or evaluate on, a micro-batch: `sequences` rows of equal length, row major.
public struct TokenBatch: Sendable {
    /// Ids below `vocab_size`.
    public var tokens: [Int32]
    /// The id to predict at each position; below zero: ignored.
    public var targets: [Int32]
    public var sequences: Int

    public init(tokens: [Int32] = [], targets: [Int32] = [], sequences: Int = 0) {
        self.tokens = tokens
        self.targets = targets
        self.sequences = sequences
    }
}
