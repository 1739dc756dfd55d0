import Configuration
import Console

/// The model's shape: the `model` section of a configuration, under Hugging Face's names.
public struct LLaMAConfig: ConfigurationSection, Equatable {
    public var hiddenSize = 0
    public var intermediateSize = 0
    public var numHiddenLayers = 0
    public var numAttentionHeads = 0
    /// Fewer than the attention heads: grouped-query attention.
    public var numKeyValueHeads: Int {
        get { givenKeyValueHeads ?? numAttentionHeads }
        set { givenKeyValueHeads = newValue }
    }
    public var vocabSize = 0
    public var maxPositionEmbeddings = 2048
    public var rmsNormEps = 1e-6
    public var ropeTheta = 10_000.0
    public var tieWordEmbeddings = false
    public var initializerRange = 0.02

    private var givenKeyValueHeads: Int?

    public init() {}

    public var headDim: Int { hiddenSize / numAttentionHeads }

    /// The longest sequence. This and the other bounds are far beyond any model that a CPU trains; with them no
    /// size in bytes that follows from them overflows.
    package static let longestSequence = 1 << 20
    /// LAPACK's work space for an eigendecomposition of a larger order cannot be counted in 32 bits.
    private static let widths = Check<Int>.range(1...1 << 14)
    private static let mostParameters = 1 << 40

    public static let fields: [Field<LLaMAConfig>] = [
        .required("hidden_size", \.hiddenSize, "width of the residual stream", widths),
        .required("intermediate_size", \.intermediateSize, "width of the MLP", .range(1...1 << 18)),
        .required("num_hidden_layers", \.numHiddenLayers, "number of transformer blocks", .range(1...1 << 10)),
        .required("num_attention_heads", \.numAttentionHeads, "number of attention heads", widths),
        .optional(
            "num_key_value_heads", \.givenKeyValueHeads,
            "number of key/value heads; as many as attention heads unless given", widths),
        .required("vocab_size", \.vocabSize, "number of token ids", .range(2...1 << 20)),
        .init(
            "max_position_embeddings", \.maxPositionEmbeddings, "longest sequence in tokens",
            .range(1...longestSequence)),
        .init("rms_norm_eps", \.rmsNormEps, "added to the mean square in RMSNorm", .positive),
        .init("rope_theta", \.ropeTheta, "base of the rotary frequencies", .positive),
        .init("tie_word_embeddings", \.tieWordEmbeddings, "one matrix for the embedding and lm_head"),
        .init("initializer_range", \.initializerRange, "standard deviation of the initial weights", .range(1e-6...10)),
    ]

    public mutating func validate() throws {
        let most = numHiddenLayers * hiddenSize * (4 * hiddenSize + 3 * intermediateSize) + 2 * vocabSize * hiddenSize
        guard most <= Self.mostParameters else {
            throw FieldError(
                "hidden_size",
                "\(hiddenSize) and the other sizes make a model of some \(Format.count(most)) parameters",
                hint: "sizes that make more than \(Format.count(Self.mostParameters)) are taken for a mistake")
        }
        guard hiddenSize % numAttentionHeads == 0 else {
            throw FieldError(
                "hidden_size", "\(hiddenSize) is not divisible by num_attention_heads, \(numAttentionHeads)",
                hint: "\(numAttentionHeads * max(1, hiddenSize / numAttentionHeads)) would be")
        }
        guard headDim % 2 == 0 else {
            throw FieldError(
                "num_attention_heads",
                "\(numAttentionHeads) heads of hidden_size \(hiddenSize) have an odd dimension, \(headDim)",
                hint: "rotary position embeddings turn pairs: choose an even hidden_size / num_attention_heads")
        }
        givenKeyValueHeads = numKeyValueHeads
        guard numAttentionHeads % numKeyValueHeads == 0 else {
            throw FieldError(
                "num_key_value_heads", "\(numKeyValueHeads) does not divide num_attention_heads, \(numAttentionHeads)",
                hint: "heads share keys and values in groups of one size: choose a divisor of \(numAttentionHeads)")
        }
    }
}
