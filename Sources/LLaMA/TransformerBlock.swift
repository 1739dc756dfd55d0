// One pre-norm transformer block (LLaMA, Touvron et al. 2023).
//
//     h = RMSNorm(x);    q, k, v = h Wq', h Wk', h Wv';    q, k = RoPE(q), RoPE(k)
//     y = x + attention(q, k, v) Wo'
//     m = RMSNorm(y);    out = y + (silu(m Wg') * (m Wu')) Wd'
//
// Weights are [out_features, in_features]; x, y, out: [tokens, hidden_size].
//
// How the work is cut: a pass is three phases, by blocks of tokens, by attention head, by blocks of
// tokens again. Within a block of tokens everything from one norm to the next product happens while
// the block's rows are in cache. Weight gradients contract over all tokens of the micro-batch, so
// they are cut by rows of the weight instead. No block's shape depends on the number of workers.
//
// Kept for the backward pass, a token: x, y (hidden_size each), q, attention output (heads * d each),
// k, v (kv heads * d each), gate and up (intermediate_size each), one log-denominator a head. The
// normalized rows and silu(gate) * up are rebuilt. q, k, v, gate and up are overwritten by their
// gradients, which the weight gradients then read.
// Cost: 2 FLOPs a weight and token forward, 4 backward, and attention's (see CausalSelfAttention).

import TensorCore

/// What a block of the model needs besides its weights; shared by all blocks.
struct BlockContext {
    let config: LLaMAConfig
    let pool: WorkerPool
    let workspace: Workspace
    let rope: RoPE
    let cancellation: CancellationFlag?
    /// Sequences in this micro-batch and tokens in each.
    let sequences: Int
    let length: Int

    var tokens: Int { sequences * length }
    var eps: Float { Float(config.rmsNormEps) }
    var attention: CausalSelfAttention {
        CausalSelfAttention(
            heads: config.numAttentionHeads, keyValueHeads: config.numKeyValueHeads,
            headDim: config.headDim, length: length)
    }

    /// Tokens in a block of rows: enough that a product runs near its full speed.
    static let tokenBlock = 256

    /// Scratch that the largest block of work takes.
    static func scratchSize(_ config: LLaMAConfig, length: Int) -> Int {
        let tokens =
            2 * Workspace.size(tokenBlock, config.hiddenSize)
            + Workspace.size(tokenBlock, config.intermediateSize)
        return max(tokens, CausalSelfAttention.scratchSize(headDim: config.headDim, length: length))
    }

    /// Runs `body` for each block of tokens.
    func forEachTokenBlock(_ body: (_ rows: Range<Int>, _ block: Int, _ scratch: inout Scratch) -> Void) throws {
        let tokenBlocks = ranges(of: tokens, size: Self.tokenBlock)
        try pool.forEach(tokenBlocks.count, cancellation: cancellation) { block, worker in
            var scratch = workspace.scratch(of: worker)
            body(tokenBlocks[block], block, &scratch)
        }
    }
}

/// What one block's forward pass leaves for its backward pass.
final class BlockActivations {
    let residual: Tensor<Float>
    let query, key, value: Tensor<Float>
    let attention: Tensor<Float>
    let logDenominators: Tensor<Float>
    let middle: Tensor<Float>
    let gate, up: Tensor<Float>

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
}

/// Memory of the backward pass, shared by all blocks.
final class BackwardBuffers {
    /// Gradient of the block's output on entry, of its input on return.
    let residual: Tensor<Float>
    let middle: Tensor<Float>
    let attention: Tensor<Float>
    /// A norm's output and the gated activation, rebuilt for the weight gradients.
    let normalized: Tensor<Float>
    let gated: Tensor<Float>
    /// One row of norm gain gradients for each block of tokens.
    let gains: Tensor<Float>

    init(_ config: LLaMAConfig, maxTokens: Int) {
        residual = Tensor(maxTokens, config.hiddenSize)
        middle = Tensor(maxTokens, config.hiddenSize)
        attention = Tensor(maxTokens, config.numAttentionHeads * config.headDim)
        normalized = Tensor(maxTokens, config.hiddenSize)
        gated = Tensor(maxTokens, config.intermediateSize)
        gains = Tensor((maxTokens + BlockContext.tokenBlock - 1) / BlockContext.tokenBlock, config.hiddenSize)
    }
}

/// The parameters of one block, and its two passes.
final class TransformerBlock {
    let inputNorm, query, key, value, output: Parameter
    let postAttentionNorm, gate, up, down: Parameter

    init(_ config: LLaMAConfig, layer: Int) {
        let (hidden, intermediate, headDim) = (config.hiddenSize, config.intermediateSize, config.headDim)
        let queryRows = config.numAttentionHeads * headDim
        let keyRows = config.numKeyValueHeads * headDim
        func parameter(_ name: String, _ shape: [Int], _ role: ParameterRole) -> Parameter {
            Parameter(name: "model.layers.\(layer).\(name).weight", shape: shape, role: role)
        }
        query = parameter("self_attn.q_proj", [queryRows, hidden], .matrix(.query(headDim: headDim)))
        key = parameter("self_attn.k_proj", [keyRows, hidden], .matrix(.key(headDim: headDim)))
        value = parameter("self_attn.v_proj", [keyRows, hidden], .matrix(.value))
        output = parameter("self_attn.o_proj", [hidden, queryRows], .matrix(.attentionOutput))
        gate = parameter("mlp.gate_proj", [intermediate, hidden], .matrix(.gate))
        up = parameter("mlp.up_proj", [intermediate, hidden], .matrix(.up))
        down = parameter("mlp.down_proj", [hidden, intermediate], .matrix(.down))
        inputNorm = parameter("input_layernorm", [hidden], .vector)
        postAttentionNorm = parameter("post_attention_layernorm", [hidden], .vector)
    }

    /// In Hugging Face's order.
    var parameters: [Parameter] {
        [query, key, value, output, gate, up, down, inputNorm, postAttentionNorm]
    }

    /// From `saved.residual`, which holds x, to `out`; fills the rest of `saved`.
    func forward(_ saved: BlockActivations, into out: Matrix<Float>, _ context: BlockContext) throws {
        let tokens = 0..<context.tokens
        let (x, y) = (saved.residual.matrix.rows(tokens), saved.middle.matrix.rows(tokens))
        let (q, k, v) = (saved.query.matrix, saved.key.matrix, saved.value.matrix)

        try context.forEachTokenBlock { rows, _, scratch in
            let h = scratch.matrix(rows.count, x.columns)
            RMSNorm.forward(x.rows(rows), gain: inputNorm.weight, eps: context.eps, into: h)
            for (weight, result) in [(query, q), (key, k), (value, v)] {
                multiply(h.plain, weight.weight.matrix.transposed, into: result.rows(rows))
            }
            for heads in [q, k] {
                context.rope.rotate(
                    heads.rows(rows), firstPosition: rows.lowerBound, period: context.length, .forward)
            }
        }

        let attention = context.attention
        try context.pool.forEach(
            context.sequences * attention.heads, cancellation: context.cancellation
        ) { task, worker in
            let (sequence, head) = task.quotientAndRemainder(dividingBy: attention.heads)
            let rows = sequence * context.length..<(sequence + 1) * context.length
            var scratch = context.workspace.scratch(of: worker)
            attention.forward(
                head: head, q: q.rows(rows), k: k.rows(rows), v: v.rows(rows),
                into: saved.attention.matrix.rows(rows),
                logDenominators: saved.logDenominators.data + task * context.length, scratch: &scratch)
        }

        try context.forEachTokenBlock { rows, _, scratch in
            let (y, out) = (y.rows(rows), out.rows(rows))
            let (g, u) = (saved.gate.matrix.rows(rows), saved.up.matrix.rows(rows))
            copy(x.rows(rows), to: y)
            multiply(saved.attention.matrix.rows(rows).plain, output.weight.matrix.transposed, into: y, beta: 1)
            let m = scratch.matrix(rows.count, y.columns)
            RMSNorm.forward(y, gain: postAttentionNorm.weight, eps: context.eps, into: m)
            multiply(m.plain, gate.weight.matrix.transposed, into: g)
            multiply(m.plain, up.weight.matrix.transposed, into: u)
            let gated = scratch.matrix(rows.count, g.columns)
            SwiGLU.forward(gate: g, up: u, into: gated)
            copy(y, to: out)
            multiply(gated.plain, down.weight.matrix.transposed, into: out, beta: 1)
        }
    }

    /// Turns `buffers.residual` from the gradient of this block's output into that of its input, and
    /// adds to the gradients of its parameters. Spends `saved`.
    func backward(_ saved: BlockActivations, _ buffers: BackwardBuffers, _ context: BlockContext) throws {
        try backwardMLP(saved, buffers, context)
        try backwardAttention(saved, buffers, context)
        try backwardProjections(saved, buffers, context)
    }

    private func backwardMLP(
        _ saved: BlockActivations, _ buffers: BackwardBuffers, _ context: BlockContext
    ) throws {
        let (dout, dy) = (buffers.residual.matrix, buffers.middle.matrix)
        buffers.gains.zero()
        try context.forEachTokenBlock { rows, block, scratch in
            let y = saved.middle.matrix.rows(rows)
            let (g, u) = (saved.gate.matrix.rows(rows), saved.up.matrix.rows(rows))
            let dgated = scratch.matrix(rows.count, g.columns)
            multiply(dout.rows(rows).plain, down.weight.matrix.plain, into: dgated)
            SwiGLU.backward(dgated, gate: g, up: u, product: buffers.gated.matrix.rows(rows))
            RMSNorm.forward(
                y, gain: postAttentionNorm.weight, eps: context.eps, into: buffers.normalized.matrix.rows(rows))
            let dm = scratch.matrix(rows.count, y.columns)
            multiply(g.plain, gate.weight.matrix.plain, into: dm)
            multiply(u.plain, up.weight.matrix.plain, into: dm, beta: 1)
            copy(dout.rows(rows), to: dy.rows(rows))
            RMSNorm.backward(
                dm, x: y, gain: postAttentionNorm.weight, eps: context.eps,
                addingTo: dy.rows(rows), dgain: buffers.gains.matrix.row(block))
            multiply(
                dy.rows(rows).plain, output.weight.matrix.plain, into: buffers.attention.matrix.rows(rows))
        }
        addGainGradient(buffers, to: postAttentionNorm, context)
        let tokens = 0..<context.tokens
        try addWeightGradients(
            [
                (down, dout.rows(tokens), buffers.gated.matrix.rows(tokens)),
                (gate, saved.gate.matrix.rows(tokens), buffers.normalized.matrix.rows(tokens)),
                (up, saved.up.matrix.rows(tokens), buffers.normalized.matrix.rows(tokens)),
                (output, dy.rows(tokens), saved.attention.matrix.rows(tokens)),
            ], context)
    }

    private func backwardAttention(
        _ saved: BlockActivations, _ buffers: BackwardBuffers, _ context: BlockContext
    ) throws {
        let attention = context.attention
        try context.pool.forEach(
            context.sequences * attention.keyValueHeads, cancellation: context.cancellation
        ) { task, worker in
            let (sequence, group) = task.quotientAndRemainder(dividingBy: attention.keyValueHeads)
            let rows = sequence * context.length..<(sequence + 1) * context.length
            var scratch = context.workspace.scratch(of: worker)
            attention.backward(
                group: group, q: saved.query.matrix.rows(rows), k: saved.key.matrix.rows(rows),
                v: saved.value.matrix.rows(rows), output: saved.attention.matrix.rows(rows),
                doutput: buffers.attention.matrix.rows(rows),
                logDenominators: { head in
                    UnsafePointer(saved.logDenominators.data + (sequence * attention.heads + head) * context.length)
                }, scratch: &scratch)
        }
    }

    private func backwardProjections(
        _ saved: BlockActivations, _ buffers: BackwardBuffers, _ context: BlockContext
    ) throws {
        let (dq, dk, dv) = (saved.query.matrix, saved.key.matrix, saved.value.matrix)
        buffers.gains.zero()
        try context.forEachTokenBlock { rows, block, scratch in
            let x = saved.residual.matrix.rows(rows)
            for heads in [dq, dk] {
                context.rope.rotate(
                    heads.rows(rows), firstPosition: rows.lowerBound, period: context.length, .backward)
            }
            RMSNorm.forward(
                x, gain: inputNorm.weight, eps: context.eps, into: buffers.normalized.matrix.rows(rows))
            let dh = scratch.matrix(rows.count, x.columns)
            multiply(dq.rows(rows).plain, query.weight.matrix.plain, into: dh)
            multiply(dk.rows(rows).plain, key.weight.matrix.plain, into: dh, beta: 1)
            multiply(dv.rows(rows).plain, value.weight.matrix.plain, into: dh, beta: 1)
            let dx = buffers.residual.matrix.rows(rows)
            copy(buffers.middle.matrix.rows(rows), to: dx)
            RMSNorm.backward(
                dh, x: x, gain: inputNorm.weight, eps: context.eps,
                addingTo: dx, dgain: buffers.gains.matrix.row(block))
        }
        addGainGradient(buffers, to: inputNorm, context)
        let tokens = 0..<context.tokens
        let normalized = buffers.normalized.matrix.rows(tokens)
        try addWeightGradients(
            [
                (query, dq.rows(tokens), normalized), (key, dk.rows(tokens), normalized),
                (value, dv.rows(tokens), normalized),
            ], context)
    }
}

/// dW += dy' x for several weights, shared out by blocks of their rows.
func addWeightGradients(
    _ products: [(parameter: Parameter, dy: Matrix<Float>, x: Matrix<Float>)], _ context: BlockContext
) throws {
    let tasks = products.flatMap { product in
        ranges(of: product.dy.columns, size: BlockContext.tokenBlock).map { (product, $0) }
    }
    try context.pool.forEach(tasks.count, cancellation: context.cancellation) { task, _ in
        let (product, rows) = tasks[task]
        multiply(
            product.dy.columns(rows).transposed, product.x.plain,
            into: product.parameter.gradient.matrix.rows(rows), beta: 1)
    }
}

/// Adds the blocks' sums, in the order of the tokens, to a norm gain's gradient.
func addGainGradient(_ buffers: BackwardBuffers, to gain: Parameter, _ context: BlockContext) {
    for block in ranges(of: context.tokens, size: BlockContext.tokenBlock).indices {
        let part = buffers.gains.matrix.row(block)
        for j in 0..<gain.count { gain.gradient.data[j] += part[j] }
    }
}

/// Copies rows of equal length.
func copy(_ source: Matrix<Float>, to target: Matrix<Float>) {
    for i in 0..<source.rows { target.row(i).update(from: source.row(i), count: source.columns) }
}
