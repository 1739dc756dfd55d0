/// What a parameter is in the model. Optimizers decide by it, never by a parameter's size or by a
/// piece of its name.
public enum ParameterRole: Hashable, Sendable {
    /// The token embedding, `[vocab_size, hidden_size]`; also the output head where they are tied.
    case embedding
    /// The output head, `[vocab_size, hidden_size]`.
    case head
    /// A hidden weight matrix `[out_features, in_features]`.
    case matrix(Projection)
    /// A norm gain, `[hidden_size]`.
    case vector

    /// Which linear layer of a transformer block a matrix is.
    public enum Projection: Hashable, Sendable {
        /// Rows come in heads of `headDim` consecutive rows.
        case query(headDim: Int)
        case key(headDim: Int)
        case value, attentionOutput, gate, up, down
    }

    public var isMatrix: Bool { if case .matrix = self { true } else { false } }
}

/// A trainable tensor with its gradient.
///
/// Weights are row major `[out_features, in_features]` under Hugging Face's names
/// (`model.layers.3.self_attn.q_proj.weight`), float32. The gradient has the same shape; it is the
/// gradient of the mean loss over the step's tokens, summed over micro-batches.
public final class Parameter: Sendable {
    public let name: String
    public let role: ParameterRole
    public let weight: Tensor<Float>
    public let gradient: Tensor<Float>

    public init(name: String, shape: [Int], role: ParameterRole) {
        require((1...2).contains(shape.count), "parameter \(name) has shape \(shape)")
        self.name = name
        self.role = role
        weight = Tensor(shape)
        gradient = Tensor(shape)
    }

    public var shape: [Int] { weight.shape }
    public var count: Int { weight.count }
}
