import TensorCore

/// What one block's forward pass leaves for its backward pass.
final class BlockActivations<Element: ActivationElement> {
    let residual: Tensor<Float>
    let query, key, value: Tensor<Element>
    let attention: Tensor<Element>
    let logDenominators: Tensor<Float>
    let middle: Tensor<Float>
    let gate, up: Tensor<Element>

    init(_ config: LLaMAConfig, maxTokens: Int) {
        let heads = config.numAttentionHeads
        residual = Tensor(maxTokens, config.hiddenSize)
        query = Tensor(maxTokens, heads * config.headDim)
        key = Tensor(maxTokens, config.numKeyValueHeads * config.headDim)
        value = Tensor(maxTokens, config.numKeyValueHeads * config.headDim)
        attention = Tensor(maxTokens, heads * config.headDim)
        logDenominators = Tensor(maxTokens * heads)
        middle = Tensor(maxTokens, config.hiddenSize)
        gate = Tensor(maxTokens, config.intermediateSize)
        up = Tensor(maxTokens, config.intermediateSize)
    }

    var byteCount: Int {
        [residual, logDenominators, middle].reduce(0) { $0 + $1.byteCount }
            + [query, key, value, attention, gate, up].reduce(0) { $0 + $1.byteCount }
    }
}

/// Memory of the backward pass, shared by all blocks.
final class BackwardBuffers<Element: ActivationElement> {
    /// Gradient of the block's output on entry, of its input on return.
    let residual: OperandTensor<Element>
    /// Gradient of the residual stream between attention and MLP.
    let middle: OperandTensor<Element>
    let attention: Tensor<Element>
    /// A norm's output and the gated activation, rebuilt for the weight gradients.
    let normalized: Tensor<Element>
    let gated: Tensor<Element>
    /// One row of norm gain gradients for each block of tokens.
    let gains: Tensor<Float>

    init(_ config: LLaMAConfig, maxTokens: Int) {
        residual = OperandTensor(Tensor(maxTokens, config.hiddenSize))
        middle = OperandTensor(Tensor(maxTokens, config.hiddenSize))
        attention = Tensor(maxTokens, config.numAttentionHeads * config.headDim)
        normalized = Tensor(maxTokens, config.hiddenSize)
        gated = Tensor(maxTokens, config.intermediateSize)
        gains = Tensor((maxTokens + BlockContext.tokenBlock - 1) / BlockContext.tokenBlock, config.hiddenSize)
    }

    var byteCount: Int {
        [residual, middle].reduce(gains.byteCount) { $0 + $1.values.byteCount + $1.operandByteCount }
            + [attention, normalized, gated].reduce(0) { $0 + $1.byteCount }
    }
}
