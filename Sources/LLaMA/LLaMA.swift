// The LLaMA language model: embedding, transformer blocks, final norm, output head.
//
//     x = E[tokens];   x = block_l(x) for each layer;   loss = cross-entropy(RMSNorm(x) W_head')
//
// Parameters carry Hugging Face's names in Hugging Face's order, so that a checkpoint maps one to
// one. With `tie_word_embeddings` the head is the embedding and there is no `lm_head.weight`.

import Configuration
import TensorCore

/// The type of activations and of the operands of matrix products.
public enum Precision: String, CaseIterable, ConfigurationValue {
    case fp32
    /// bfloat16 operands and activations, float32 sums; weights, gradients and the residual stream's sum stay float32.
    case bf16
}

/// A LLaMA with its gradients and the memory for one micro-batch.
public final class LLaMA {
    public let config: LLaMAConfig
    public let precision: Precision
    /// All parameters, in Hugging Face's order.
    public let parameters: [Parameter]
    public let pool: WorkerPool

    let embedding: Parameter
    let blocks: [BlockParameters]
    let finalNorm: Parameter
    let head: Parameter

    /// The passes in one precision or the other. Not a protocol: each case is compiled for its type.
    private enum Passes {
        case fp32(ModelPasses<Float>)
        case bf16(ModelPasses<BFloat16>)
    }

    /// Made of the parameters, so that it comes after them.
    private var passes: Passes!

    /// A model for micro-batches of up to `maxSequences` sequences of `sequenceLength` tokens.
    /// Parameters are zero until `initialize` or a checkpoint fills them. Memory that training alone
    /// touches (gradients, activations of all layers but the first) becomes resident with the first
    /// training step only.
    public init(
        config: LLaMAConfig, pool: WorkerPool, maxSequences: Int, sequenceLength: Int, precision: Precision = .fp32,
        recompute: Recompute = .none
    ) {
        require(maxSequences > 0 && sequenceLength > 0, "micro-batch \(maxSequences)x\(sequenceLength)")
        self.config = config
        self.precision = precision
        self.pool = pool
        embedding = Parameter(
            name: "model.embed_tokens.weight", shape: [config.vocabSize, config.hiddenSize], role: .embedding)
        blocks = (0..<config.numHiddenLayers).map { BlockParameters(config, layer: $0) }
        finalNorm = Parameter(name: "model.norm.weight", shape: [config.hiddenSize], role: .vector)
        head =
            config.tieWordEmbeddings
            ? embedding
            : Parameter(name: "lm_head.weight", shape: [config.vocabSize, config.hiddenSize], role: .head)
        parameters =
            [embedding] + blocks.flatMap(\.all) + [finalNorm] + (config.tieWordEmbeddings ? [] : [head])
        passes =
            switch precision {
            case .fp32:
                .fp32(ModelPasses(self, maxSequences: maxSequences, length: sequenceLength, recompute: recompute))
            case .bf16:
                .bf16(ModelPasses(self, maxSequences: maxSequences, length: sequenceLength, recompute: recompute))
            }
    }

    /// The number of scalars in all parameters.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// What the model holds. Of a model made by `withoutMemory`: what it would hold.
    public var memory: LLaMAMemory { memory(forwardOnly: false) }

    /// What of it is ever touched where nothing is trained.
    public var forwardMemory: LLaMAMemory { memory(forwardOnly: true) }

    private func memory(forwardOnly: Bool) -> LLaMAMemory {
        var memory =
            switch passes! {
            case .fp32(let passes): passes.memory(forwardOnly: forwardOnly)
            case .bf16(let passes): passes.memory(forwardOnly: forwardOnly)
            }
        memory.weights = parameters.reduce(0) { $0 + $1.weight.byteCount }
        if !forwardOnly { memory.gradients = parameters.reduce(0) { $0 + $1.gradient.byteCount } }
        return memory
    }

    /// The time of all `accumulateGradients` so far.
    public var passSeconds: PassSeconds {
        switch passes! {
        case .fp32(let passes): passes.seconds
        case .bf16(let passes): passes.seconds
        }
    }

    /// Sets every gradient to zero, as a step must before its first micro-batch.
    public func zeroGradients() {
        let parts = parameters.flatMap { parameter in
            ranges(of: parameter.count, size: 1 << 17).map { (parameter.gradient, $0) }
        }
        pool.forEach(parts.count) { index, _ in
            let (gradient, range) = parts[index]
            (gradient.data + range.lowerBound).update(repeating: 0, count: range.count)
        }
    }

    /// Must be called when weights have changed, by an optimizer or from a file: rounds them once to
    /// the operands that all passes read until the next change.
    public func weightsChanged() {
        switch passes! {
        case .fp32(let passes): passes.roundWeights()
        case .bf16(let passes): passes.roundWeights()
        }
    }

    /// Forward and backward over one micro-batch.
    ///
    /// - Parameters:
    ///   - tokens: `sequences` x sequence length ids below `vocab_size`, row major.
    ///   - targets: the id to predict at each position; below zero: ignored.
    ///   - lossScale: the weight of each token's loss, one over the step's token count. The gradient
    ///     of the weighted sum is added to every parameter's gradient.
    /// - Returns: the unweighted loss.
    /// - Throws: `CancellationError`; the gradients are then good for nothing.
    public func accumulateGradients(
        tokens: [Int32], targets: [Int32], sequences: Int, lossScale: Float,
        cancellation: CancellationFlag? = nil
    ) throws -> TokenLoss {
        let batch = MicroBatch(tokens: tokens, targets: targets, sequences: sequences, cancellation: cancellation)
        return switch passes! {
        case .fp32(let passes): try passes.accumulateGradients(batch, lossScale: lossScale)
        case .bf16(let passes): try passes.accumulateGradients(batch, lossScale: lossScale)
        }
    }

    /// The loss of one micro-batch without gradients. Uses the memory of the first layer's
    /// activations for all layers.
    public func evaluateLoss(
        tokens: [Int32], targets: [Int32], sequences: Int, cancellation: CancellationFlag? = nil
    ) throws -> TokenLoss {
        let batch = MicroBatch(tokens: tokens, targets: targets, sequences: sequences, cancellation: cancellation)
        return switch passes! {
        case .fp32(let passes): try passes.evaluateLoss(batch)
        case .bf16(let passes): try passes.evaluateLoss(batch)
        }
    }

    /// The logits of every position, `[sequences * sequence length, vocab_size]`.
    public func logits(tokens: [Int32], sequences: Int) throws -> Tensor<Float> {
        let batch = MicroBatch(tokens: tokens, targets: tokens, sequences: sequences, cancellation: nil)
        return switch passes! {
        case .fp32(let passes): try passes.logits(batch)
        case .bf16(let passes): try passes.logits(batch)
        }
    }
}
