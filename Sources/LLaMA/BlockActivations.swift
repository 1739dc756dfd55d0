import Configuration
import TensorCore

/// What a block's backward pass makes anew instead of keeping it from the forward pass: memory for time.
public enum Recompute: String, CaseIterable, ConfigurationValue {
    case none
    /// Gate and up projection: two thirds of the MLP's products once more.
    case mlp
    /// Everything but the residual stream before each norm: nearly the whole forward pass once more.
    case block
}

/// What one block's forward pass leaves for its backward pass.
final class BlockActivations<Element: ActivationElement> {
    /// The residual stream before the block's two norms.
    let residual, middle: Tensor<Element>
    let query, key, value: Tensor<Element>
    let attention: Tensor<Element>
    /// The log-sum-exp of each row of attention's scores.
    let lse: Tensor<Float>
    let gate, up: Tensor<Element>

    /// The bytes of the tensors that no other block uses.
    let byteCount: Int

    /// With a `first` block, the tensors that are recomputed are that block's.
    init(_ config: LLaMAConfig, maxTokens: Int, recompute: Recompute, first: BlockActivations?) {
        let attentionWidth = config.numAttentionHeads * config.headDim
        let keyWidth = config.numKeyValueHeads * config.headDim
        let owner = recompute == .block ? first : nil
        residual = Tensor(maxTokens, config.hiddenSize)
        middle = Tensor(maxTokens, config.hiddenSize)
        query = owner?.query ?? Tensor(maxTokens, attentionWidth)
        key = owner?.key ?? Tensor(maxTokens, keyWidth)
        value = owner?.value ?? Tensor(maxTokens, keyWidth)
        attention = owner?.attention ?? Tensor(maxTokens, attentionWidth)
        lse = owner?.lse ?? Tensor(maxTokens * config.numAttentionHeads)
        let mlpOwner = recompute == .none ? nil : first
        gate = mlpOwner?.gate ?? Tensor(maxTokens, config.intermediateSize)
        up = mlpOwner?.up ?? Tensor(maxTokens, config.intermediateSize)

        let attentionTensors = [query, key, value, attention].reduce(lse.byteCount) { $0 + $1.byteCount }
        byteCount =
            residual.byteCount + middle.byteCount + (owner == nil ? attentionTensors : 0)
            + (mlpOwner == nil ? gate.byteCount + up.byteCount : 0)
    }
}

/// Memory of the backward pass, shared by all blocks. All but what lm_head leaves lies in an arena that lm_head has before.
final class BackwardBuffers<Element: ActivationElement> {
    /// Gradient of the final norm's output, as lm_head leaves it, then of the residual stream between attention and MLP.
    private let middleValues: Tensor<Float>
    let middle: OperandMatrix<Element>
    /// Gradient of the block's output on entry, of its input on return.
    let residual: OperandMatrix<Element>
    let attention: Matrix<Element>
    /// What the weight gradients read: the norms' outputs and the gated activation, rebuilt, and attention's output.
    let attentionInput, mlpInput, gated, attentionOutput: GradientInput<Element>
    /// Weight gradients that the next phase computes beside its own work. Their operands do not change until then.
    var waiting: [SideTask<Element>] = []
    /// One row of norm gain gradients for each tile of tokens.
    let gains: Tensor<Float>

    init(_ arena: Arena, _ config: LLaMAConfig, maxTokens: Int) {
        let attentionWidth = config.numAttentionHeads * config.headDim
        middleValues = Tensor(maxTokens, config.hiddenSize)
        middle = OperandMatrix(middleValues.matrix, arena)
        residual = OperandMatrix(arena.matrix(maxTokens, config.hiddenSize), arena)
        attention = arena.matrix(maxTokens, attentionWidth, of: Element.self)
        attentionInput = GradientInput(arena, tokens: maxTokens, columns: config.hiddenSize)
        mlpInput = GradientInput(arena, tokens: maxTokens, columns: config.hiddenSize)
        gated = GradientInput(arena, tokens: maxTokens, columns: config.intermediateSize)
        attentionOutput = GradientInput(arena, tokens: maxTokens, columns: attentionWidth)
        gains = Tensor(
            ranges(of: maxTokens, size: BlockContext.tokenTile(maxTokens, Element.self)).count, config.hiddenSize)
    }

    /// Hands over the weight gradients that wait.
    func takeWaiting() -> [SideTask<Element>] {
        defer { waiting = [] }
        return waiting
    }

    /// Without the arena's.
    var byteCount: Int { middleValues.byteCount + gains.byteCount }
}
