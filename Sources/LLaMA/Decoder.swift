// Generation: the forward pass for a few tokens after those that a key/value cache remembers.
//
// The kernels are those of training; only the cut of the work differs: with one token at a time a
// product is a matrix-vector product bound by reading the weights, so it is shared out by rows of
// the weight. Logits differ from those of a whole forward pass by rounding alone.
// Cost: one read of all weights a call; the cache takes 2 * kv heads * d floats a layer and position.

import TensorCore

/// Continues one sequence token by token.
public final class Decoder {
    private let model: LLaMA
    private let rope: RoPE
    private let attention: CachedAttention
    private let workspace: Workspace
    private let keys: [Tensor<Float>]
    private let values: [Tensor<Float>]

    private let x, h: Tensor<Float>
    private let query, attended: Tensor<Float>
    private let gate, up: Tensor<Float>
    private let logits: Tensor<Float>

    /// The number of tokens the cache holds.
    public private(set) var position = 0
    public let maxLength: Int

    /// Prompt tokens that go through the model together.
    private static let chunk = 64
    /// Rows of a weight in one task.
    private static let weightTile = 256

    public init(model: LLaMA, maxLength: Int) {
        let config = model.config
        self.model = model
        self.maxLength = maxLength
        rope = RoPE(headDim: config.headDim, length: maxLength, theta: config.ropeTheta)
        let attention = CachedAttention(config, maxLength: maxLength)
        self.attention = attention
        workspace = Workspace(workers: model.pool.workerCount) { _ = attention.scratch($0, queries: Self.chunk) }
        let keyWidth = config.numKeyValueHeads * config.headDim
        keys = model.blocks.map { _ in Tensor(maxLength, keyWidth) }
        values = model.blocks.map { _ in Tensor(maxLength, keyWidth) }
        x = Tensor(Self.chunk, config.hiddenSize)
        h = Tensor(Self.chunk, config.hiddenSize)
        query = Tensor(Self.chunk, config.numAttentionHeads * config.headDim)
        attended = Tensor(Self.chunk, config.numAttentionHeads * config.headDim)
        gate = Tensor(Self.chunk, config.intermediateSize)
        up = Tensor(Self.chunk, config.intermediateSize)
        logits = Tensor(1, config.vocabSize)
    }

    public func reset() { position = 0 }

    /// Appends tokens to the sequence and returns the logits that follow the last of them, one for
    /// each entry of the vocabulary. At least one token, and no more than fit.
    public func append(_ tokens: [Int32]) -> [Float] {
        require(
            !tokens.isEmpty && position + tokens.count <= maxLength,
            "\(tokens.count) tokens after \(position) in a cache for \(maxLength)")
        require(
            tokens.allSatisfy { (0..<Int32(model.config.vocabSize)).contains($0) },
            "token ids beyond a vocabulary of \(model.config.vocabSize)")
        var lastRow = 0
        for range in ranges(of: tokens.count, size: Self.chunk) {
            tokens.withUnsafeBufferPointer { forward(UnsafeBufferPointer(rebasing: $0[range])) }
            lastRow = range.count - 1
        }
        let last = x.matrix.rows(lastRow..<lastRow + 1)
        let normalized = h.matrix.rows(0..<1)
        RMSNorm.forward(last, gain: model.finalNorm.values, eps: eps, into: normalized)
        project(normalized, model.lmHead, into: logits.matrix)
        return Array(logits.elements)
    }

    private var eps: Float { Float(model.config.rmsNormEps) }

    /// Leaves the last block's output in `x`.
    private func forward(_ tokens: UnsafeBufferPointer<Int32>) {
        let rows = 0..<tokens.count
        let cached = position..<position + tokens.count
        let (x, h) = (x.matrix.rows(rows), h.matrix.rows(rows))
        let (query, attended) = (query.matrix.rows(rows), attended.matrix.rows(rows))
        let (gate, up) = (gate.matrix.rows(rows), up.matrix.rows(rows))
        Embedding.forward(tokens, weight: model.embedding.values.matrix, into: x)
        for (layer, block) in model.blocks.enumerated() {
            let (keys, values) = (keys[layer].matrix, values[layer].matrix)
            RMSNorm.forward(x, gain: block.inputNorm.values, eps: eps, into: h)
            project(h, block.query, into: query)
            project(h, block.key, into: keys.rows(cached))
            project(h, block.value, into: values.rows(cached))
            for heads in [query, keys.rows(cached)] {
                rope.rotate(heads, firstPosition: position, period: maxLength, .forward)
            }
            model.pool.forEach(attention.heads) { head, worker in
                attention(
                    head: head, q: query, firstPosition: position, keys: keys, values: values, into: attended,
                    scores: attention.scratch(workspace.arena(of: worker), queries: query.rows))
            }
            project(attended, block.output, into: x, beta: 1)
            RMSNorm.forward(x, gain: block.postAttentionNorm.values, eps: eps, into: h)
            project(h, block.gate, into: gate)
            project(h, block.up, into: up)
            SwiGLU.forward(gate: gate, up: up, into: gate)
            project(gate, block.down, into: x, beta: 1)
        }
        position += tokens.count
    }

    /// y = x W' + beta y.
    private func project(_ x: Matrix<Float>, _ parameter: Parameter, into y: Matrix<Float>, beta: Float = 0) {
        let weight = parameter.values.matrix
        let weightTiles = ranges(of: weight.rows, size: Self.weightTile)
        model.pool.forEach(weightTiles.count) { tile, _ in
            let rows = weightTiles[tile]
            multiply(x.plain, weight.rows(rows).transposed, into: y.columns(rows), beta: beta)
        }
    }
}
