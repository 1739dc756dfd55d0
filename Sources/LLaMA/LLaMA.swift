// The LLaMA language model: embedding, transformer blocks, final norm, lm_head.
//
//     x = E[tokens];   x = block_l(x) for each layer;   loss = cross-entropy(RMSNorm(x) W_head')
//
// Parameters carry Hugging Face's names in Hugging Face's order, so that a checkpoint maps one to
// one. With `tie_word_embeddings` the lm_head is the embedding and there is no `lm_head.weight`.

import Configuration
import Glibc
import TensorCore

/// The type of activations and of the operands of matrix products.
public enum Precision: String, CaseIterable, ConfigurationValue {
    case fp32
    /// bfloat16 operands and activations, float32 sums; weights, gradients and the residual stream's sum stay float32.
    case bf16
}

/// What is done with gradients that are complete, in a pass of this loss.
public typealias SpendGradients = (_ parameters: [Parameter], _ loss: TokenLoss) throws -> Void

/// A LLaMA with its gradients and the memory for one micro-batch.
public final class LLaMA {
    public let config: LLaMAConfig
    public let precision: Precision
    /// All parameters, in Hugging Face's order.
    public let parameters: [Parameter]
    public let pool: WorkerPool

    private let sharesGradients: Bool
    /// Whose gradients are all there are.
    private let gradientOwners: [Parameter]

    let embedding: Parameter
    let blocks: [BlockParameters]
    let finalNorm: Parameter
    let lmHead: Parameter

    /// The passes in one precision or the other. Not a protocol: each case is compiled for its type.
    private enum Passes {
        case fp32(ModelPasses<Float>)
        case bf16(ModelPasses<BFloat16>)
    }

    /// Made of the parameters, so that it comes after them.
    private var passes: Passes!

    /// A model for micro-batches of up to `microBatchSize` sequences of `sequenceLength` tokens.
    /// Parameters are zero until `initialize` or a checkpoint fills them. Memory that training alone
    /// touches (gradients, activations of all layers but the first) becomes resident with the first
    /// training step only. `sharesGradients`: those of all layers have the memory of one layer, and
    /// `accumulateGradients` hands each on before the next.
    public init(
        config: LLaMAConfig, pool: WorkerPool, microBatchSize: Int, sequenceLength: Int, precision: Precision = .fp32,
        recompute: Recompute = .none, sharesGradients: Bool = false
    ) {
        require(microBatchSize > 0 && sequenceLength > 0, "micro-batch \(microBatchSize)x\(sequenceLength)")
        self.config = config
        self.precision = precision
        self.pool = pool
        self.sharesGradients = sharesGradients
        embedding = Parameter(
            name: "model.embed_tokens.weight", shape: [config.vocabSize, config.hiddenSize], role: .embedding)
        blocks = (0..<config.numHiddenLayers).reduce(into: []) {
            $0.append(BlockParameters(config, layer: $1, first: sharesGradients ? $0.first : nil))
        }
        finalNorm = Parameter(name: "model.norm.weight", shape: [config.hiddenSize], role: .vector)
        lmHead =
            config.tieWordEmbeddings
            ? embedding
            : Parameter(
                name: "lm_head.weight", shape: [config.vocabSize, config.hiddenSize], role: .lmHead,
                gradient: sharesGradients ? embedding.gradient : nil)
        parameters =
            [embedding] + blocks.flatMap(\.all) + [finalNorm] + (config.tieWordEmbeddings ? [] : [lmHead])
        gradientOwners = sharesGradients ? [embedding] + blocks[0].all + [finalNorm] : parameters
        passes =
            switch precision {
            case .fp32:
                .fp32(ModelPasses(self, microBatchSize: microBatchSize, length: sequenceLength, recompute: recompute))
            case .bf16:
                .bf16(ModelPasses(self, microBatchSize: microBatchSize, length: sequenceLength, recompute: recompute))
            }
    }

    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// What the model holds. Of a model made by `withoutMemory`: what it would hold.
    public var memory: LLaMAMemory { memory(forwardOnly: false) }

    /// The part of it that evaluation touches: no gradients, one layer's activations.
    public var forwardMemory: LLaMAMemory { memory(forwardOnly: true) }

    private func memory(forwardOnly: Bool) -> LLaMAMemory {
        var memory =
            switch passes! {
            case .fp32(let passes): passes.memory(forwardOnly: forwardOnly)
            case .bf16(let passes): passes.memory(forwardOnly: forwardOnly)
            }
        memory.weights = parameters.reduce(0) { $0 + $1.values.byteCount }
        if !forwardOnly { memory.gradients = gradientOwners.reduce(0) { $0 + $1.gradient.byteCount } }
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
    public func zeroGradients() { Self.zeroGradients(of: gradientOwners, on: pool) }

    static func zeroGradients(of parameters: [Parameter], on pool: WorkerPool) {
        let parts = parameters.flatMap { parameter in
            ranges(of: parameter.count, size: 1 << 17).map { (parameter.gradient, $0) }
        }
        pool.forEach(parts.count, phase: "gradients to zero") { index, _ in
            let (gradient, range) = parts[index]
            memset(gradient.data + range.lowerBound, 0, 4 * range.count)
        }
    }

    /// Rounds the weights that may have changed to the operands of the passes. Every pass begins with this; to call
    /// it before is a matter of when the time is spent.
    public func roundWeights() {
        switch passes! {
        case .fp32(let passes): passes.roundWeights()
        case .bf16(let passes): passes.roundWeights()
        }
    }

    /// Forward and backward over one micro-batch: adds the gradient of the sum of its tokens' losses, each times
    /// `tokenWeight` (one over the step's token count), to every parameter's gradient.
    ///
    /// Returns the unweighted loss. Throws `CancellationError`; the gradients are then good for nothing.
    ///
    /// `spend`, which a model that shares gradients needs, is given them as soon as they are complete: lm_head's, those
    /// of each block from the last one on, and the embedding's. It may change these parameters; afterwards the gradients
    /// are zero again. From its first call on the pass is not cancelled.
    public func accumulateGradients(
        _ batch: TokenBatch, tokenWeight: Float, cancellation: CancellationFlag? = nil, spend: SpendGradients? = nil
    ) throws -> TokenLoss {
        require(
            (spend != nil) == sharesGradients, "gradients that layers share are spent layer by layer, others are not")
        return switch passes! {
        case .fp32(let passes):
            try passes.accumulateGradients(batch, tokenWeight: tokenWeight, cancellation: cancellation, spend: spend)
        case .bf16(let passes):
            try passes.accumulateGradients(batch, tokenWeight: tokenWeight, cancellation: cancellation, spend: spend)
        }
    }

    /// The loss of one micro-batch without gradients. Uses the memory of the first layer's
    /// activations for all layers.
    public func evaluateLoss(_ batch: TokenBatch, cancellation: CancellationFlag? = nil) throws -> TokenLoss {
        switch passes! {
        case .fp32(let passes): try passes.evaluateLoss(batch, cancellation: cancellation)
        case .bf16(let passes): try passes.evaluateLoss(batch, cancellation: cancellation)
        }
    }

    /// The logits of every position, `[sequences * sequence length, vocab_size]`.
    public func logits(tokens: [Int32], sequences: Int) throws -> Tensor<Float> {
        let batch = TokenBatch(tokens: tokens, targets: tokens, sequences: sequences)
        return switch passes! {
        case .fp32(let passes): try passes.logits(batch)
        case .bf16(let passes): try passes.logits(batch)
        }
    }
}
