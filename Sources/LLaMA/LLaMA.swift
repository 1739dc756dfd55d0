// The LLaMA language model: embedding, transformer blocks, final norm, output head.
//
//     x = E[tokens];   x = block_l(x) for each layer;   loss = cross-entropy(RMSNorm(x) W_head')
//
// Parameters carry Hugging Face's names in Hugging Face's order, so that a checkpoint maps one to
// one. With `tie_word_embeddings` the head is the embedding and there is no `lm_head.weight`.

import Configuration
import TensorCore

/// A LLaMA with its gradients and the activations of one micro-batch.
public final class LLaMA {
    public let config: LLaMAConfig
    /// All parameters, in Hugging Face's order.
    public let parameters: [Parameter]
    public let pool: WorkerPool

    let embedding: Parameter
    let blocks: [TransformerBlock]
    let finalNorm: Parameter
    let head: Parameter
    let rope: RoPE

    private let maxSequences: Int
    private let sequenceLength: Int
    private let workspace: Workspace
    private let loss: LinearCrossEntropy
    private let activations: [BlockActivations]
    private let lastResidual: Tensor<Float>
    private let normalized: Tensor<Float>
    private let buffers: BackwardBuffers

    /// A model for micro-batches of up to `maxSequences` sequences of `sequenceLength` tokens.
    /// Parameters are zero until `initialize` or a checkpoint fills them. Memory that training alone
    /// touches (gradients, activations of all layers but the first) becomes resident with the first
    /// training step only.
    public init(config: LLaMAConfig, pool: WorkerPool, maxSequences: Int, sequenceLength: Int) {
        precondition(maxSequences > 0 && sequenceLength > 0, "micro-batch \(maxSequences)x\(sequenceLength)")
        self.config = config
        self.pool = pool
        self.maxSequences = maxSequences
        self.sequenceLength = sequenceLength
        embedding = Parameter(
            name: "model.embed_tokens.weight", shape: [config.vocabSize, config.hiddenSize], role: .embedding)
        blocks = (0..<config.numHiddenLayers).map { TransformerBlock(config, layer: $0) }
        finalNorm = Parameter(name: "model.norm.weight", shape: [config.hiddenSize], role: .vector)
        head =
            config.tieWordEmbeddings
            ? embedding
            : Parameter(name: "lm_head.weight", shape: [config.vocabSize, config.hiddenSize], role: .head)
        parameters =
            [embedding] + blocks.flatMap(\.parameters) + [finalNorm] + (config.tieWordEmbeddings ? [] : [head])

        let maxTokens = maxSequences * sequenceLength
        rope = RoPE(headDim: config.headDim, length: sequenceLength, theta: config.ropeTheta)
        workspace = Workspace(
            workers: pool.workerCount, capacity: BlockContext.scratchSize(config, length: sequenceLength))
        loss = LinearCrossEntropy(maxRows: maxTokens, vocabularySize: config.vocabSize, pool: pool)
        activations = blocks.map { _ in BlockActivations(config, maxTokens: maxTokens) }
        lastResidual = Tensor(maxTokens, config.hiddenSize)
        normalized = Tensor(maxTokens, config.hiddenSize)
        buffers = BackwardBuffers(config, maxTokens: maxTokens)
    }

    /// The number of scalars in all parameters.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// Sets every gradient to zero, as a step must before its first micro-batch.
    public func zeroGradients() {
        pool.forEach(parameters.count) { index, _ in parameters[index].gradient.zero() }
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
        let context = context(tokens: tokens, targets: targets, sequences: sequences, cancellation)
        let rows = 0..<context.tokens
        return try tokens.withUnsafeBufferPointer { tokens in
            try embed(tokens, into: activations[0].residual.matrix, context)
            for (layer, block) in blocks.enumerated() {
                let next = layer + 1 < blocks.count ? activations[layer + 1].residual : lastResidual
                try block.forward(activations[layer], into: next.matrix, context)
            }
            let x = lastResidual.matrix.rows(rows)
            try normalize(x, context)
            let dh = buffers.middle.matrix.rows(rows)
            let result = try targets.withUnsafeBufferPointer {
                try loss(
                    normalized.matrix.rows(rows), weight: head.weight.matrix, targets: $0,
                    gradient: (dh, head.gradient.matrix, lossScale), cancellation: cancellation)
            }
            let dx = buffers.residual.matrix.rows(rows)
            buffers.gains.zero()
            try context.forEachTokenBlock { rows, block, _ in
                let dx = dx.rows(rows)
                for i in 0..<dx.rows { dx.row(i).update(repeating: 0, count: dx.columns) }
                RMSNorm.backward(
                    dh.rows(rows), x: x.rows(rows), gain: finalNorm.weight, eps: context.eps,
                    addingTo: dx, dgain: buffers.gains.matrix.row(block))
            }
            addGainGradient(buffers, to: finalNorm, context)
            for (layer, block) in blocks.enumerated().reversed() {
                try block.backward(activations[layer], buffers, context)
            }
            let columnBlocks = ranges(of: config.hiddenSize, size: 64)
            try pool.forEach(columnBlocks.count, cancellation: cancellation) { block, _ in
                Embedding.backward(
                    dx, tokens: tokens, columns: columnBlocks[block], addingTo: embedding.gradient.matrix)
            }
            return result
        }
    }

    /// The loss of one micro-batch without gradients. Uses the memory of the first layer's
    /// activations for all layers.
    public func evaluateLoss(
        tokens: [Int32], targets: [Int32], sequences: Int, cancellation: CancellationFlag? = nil
    ) throws -> TokenLoss {
        let context = context(tokens: tokens, targets: targets, sequences: sequences, cancellation)
        try forwardOnly(tokens, context)
        return try targets.withUnsafeBufferPointer {
            try loss(
                normalized.matrix.rows(0..<context.tokens), weight: head.weight.matrix, targets: $0,
                gradient: nil, cancellation: cancellation)
        }
    }

    /// The logits of every position, `[sequences * sequence length, vocab_size]`.
    public func logits(tokens: [Int32], sequences: Int) throws -> Tensor<Float> {
        let context = context(tokens: tokens, targets: tokens, sequences: sequences, nil)
        try forwardOnly(tokens, context)
        let result = Tensor<Float>(context.tokens, config.vocabSize)
        multiply(
            normalized.matrix.rows(0..<context.tokens).plain, head.weight.matrix.transposed, into: result.matrix)
        return result
    }

    /// Leaves the final norm's output in `normalized`.
    private func forwardOnly(_ tokens: [Int32], _ context: BlockContext) throws {
        let saved = activations[0]
        try tokens.withUnsafeBufferPointer { try embed($0, into: saved.residual.matrix, context) }
        for block in blocks {
            // In place: a block of tokens reads no input row but its own, and those before it writes them.
            try block.forward(saved, into: saved.residual.matrix, context)
        }
        try normalize(saved.residual.matrix.rows(0..<context.tokens), context)
    }

    private func embed(
        _ tokens: UnsafeBufferPointer<Int32>, into x: Matrix<Float>, _ context: BlockContext
    ) throws {
        try context.forEachTokenBlock { rows, _, _ in
            Embedding.forward(
                UnsafeBufferPointer(rebasing: tokens[rows]), weight: embedding.weight.matrix, into: x.rows(rows))
        }
    }

    private func normalize(_ x: Matrix<Float>, _ context: BlockContext) throws {
        try context.forEachTokenBlock { rows, _, _ in
            RMSNorm.forward(
                x.rows(rows), gain: finalNorm.weight, eps: context.eps, into: normalized.matrix.rows(rows))
        }
    }

    private func context(
        tokens: [Int32], targets: [Int32], sequences: Int, _ cancellation: CancellationFlag?
    ) -> BlockContext {
        precondition(
            (1...maxSequences).contains(sequences) && tokens.count == sequences * sequenceLength
                && targets.count == tokens.count,
            "micro-batch of \(sequences) sequences with \(tokens.count) tokens and \(targets.count) targets "
                + "in a model for \(maxSequences) sequences of \(sequenceLength)")
        let vocabulary = Int32(config.vocabSize)
        precondition(
            tokens.allSatisfy { 0 <= $0 && $0 < vocabulary } && targets.allSatisfy { $0 < vocabulary },
            "token ids beyond a vocabulary of \(vocabulary)")
        return BlockContext(
            config: config, pool: pool, workspace: workspace, rope: rope, cancellation: cancellation,
            sequences: sequences, length: sequenceLength)
    }
}
