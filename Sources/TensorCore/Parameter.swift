import Synchronization

/// What a parameter is in the model. Optimizers decide by it, never by a parameter's size or by a
/// piece of its name.
public enum ParameterRole: Hashable, Sendable {
    /// The token embedding, `[vocab_size, hidden_size]`; also the lm_head where they are tied.
    case embedding
    /// The output layer, `lm_head`: `[vocab_size, hidden_size]`.
    case lmHead
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
/// gradient of the mean loss over the step's tokens, summed over micro-batches. Parameters whose gradients are never
/// needed at the same time may have one tensor for them.
public final class Parameter: Sendable {
    public let name: String
    public let role: ParameterRole
    /// The weight, to be read only.
    package let values: Tensor<Float>
    public let gradient: Tensor<Float>
    private let lease = Mutex(Lease())

    /// The weight as it was handed out for changes.
    private struct Lease {
        weak var tensor: Tensor<Float>?
        var mayHaveChanged = true
    }

    /// `gradient`: another parameter's; nil: one of its own.
    public init(name: String, shape: [Int], role: ParameterRole, gradient: Tensor<Float>? = nil) {
        require((1...2).contains(shape.count), "parameter \(name) has shape \(shape)")
        self.name = name
        self.role = role
        values = Tensor(shape)
        self.gradient = gradient ?? Tensor(shape)
        require(self.gradient.shape == shape, "a gradient of shape \(self.gradient.shape) for \(name), \(shape)")
    }

    /// Some rows of another one, in its memory.
    package init(rows: Range<Int>, of whole: Parameter) {
        (name, role) = (whole.name, whole.role)
        values = Tensor(rows: rows, of: whole.values)
        gradient = Tensor(rows: rows, of: whole.gradient)
    }

    /// The weight. Whoever holds it may change it: until nobody does, the model rounds it anew before each pass.
    public var weight: Tensor<Float> {
        lease.withLock { lease in
            let tensor = lease.tensor ?? Tensor(sharing: values)
            lease = Lease(tensor: tensor)
            return tensor
        }
    }

    /// Whether the weight may have changed since this was last asked.
    package func takeChange() -> Bool {
        lease.withLock { lease in
            defer { lease.mayHaveChanged = lease.tensor != nil }
            return lease.mayHaveChanged
        }
    }

    public var shape: [Int] { values.shape }
    public var count: Int { values.count }
}
