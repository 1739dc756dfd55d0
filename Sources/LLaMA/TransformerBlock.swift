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
// normalized rows and silu(gate) * up are rebuilt, and with `Recompute` more than that. q, k, v, gate
// and up are overwritten by their gradients, which the weight gradients then read.
// Numerics: the residual stream runs through all blocks in float32, in place. What is kept of it, x and y,
// has the activations' type, and the norms read that: both passes, and what is recomputed, see the same
// numbers.
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
    var attention: CausalSelfAttention { CausalSelfAttention(config, length: length) }

    /// Tokens in a block of rows: enough that a product runs near its full speed.
    static let tokenBlock = 256

    /// Scratch of one worker: what the largest block of work takes.
    static func scratch<Element: ActivationElement>(
        _: Element.Type, _ arena: Arena, _ config: LLaMAConfig, _ attention: CausalSelfAttention
    ) {
        // Two norms' outputs; or one, and the gated activation or its gradient.
        for width in [config.hiddenSize, config.intermediateSize] {
            arena.overlaid { _ = (arena.matrix(tokenBlock, config.hiddenSize), arena.matrix(tokenBlock, width)) }
        }
        arena.overlaid { _ = CausalSelfAttention.BackwardScratch<Element>(arena, attention) }
    }

    /// Runs `body` for each block of tokens.
    func forEachTokenBlock(_ body: (_ rows: Range<Int>, _ block: Int, _ arena: Arena) -> Void) throws {
        let tokenBlocks = ranges(of: tokens, size: Self.tokenBlock)
        try pool.forEach(tokenBlocks.count, cancellation: cancellation) { block, worker in
            body(tokenBlocks[block], block, workspace.arena(of: worker))
        }
    }
}

/// One block's two passes.
final class TransformerBlock<Element: ActivationElement> {
    private let query, key, value, output: Linear<Element>
    private let gate, up, down: Linear<Element>
    private let inputNorm, postAttentionNorm: Parameter

    init(_ parameters: BlockParameters) {
        query = Linear(parameters.query)
        key = Linear(parameters.key)
        value = Linear(parameters.value)
        output = Linear(parameters.output)
        gate = Linear(parameters.gate)
        up = Linear(parameters.up)
        down = Linear(parameters.down)
        inputNorm = parameters.inputNorm
        postAttentionNorm = parameters.postAttentionNorm
    }

    var linears: [Linear<Element>] { [query, key, value, output, gate, up, down] }

    /// Takes `stream` from x to the block's output; fills `saved`.
    func forward(_ stream: Matrix<Float>, _ saved: BlockActivations<Element>, _ context: BlockContext) throws {
        try context.forEachTokenBlock { rows, _, arena in
            copy(stream.rows(rows), to: saved.residual.matrix.rows(rows))
            projectHeads(saved, rows, context, arena)
        }
        try attend(saved, context)
        try context.forEachTokenBlock { rows, _, arena in
            let stream = stream.rows(rows)
            multiply(
                saved.attention.matrix.rows(rows).plain, output.weight.transposed, into: stream, accumulating: true)
            copy(stream, to: saved.middle.matrix.rows(rows))
            project(saved, rows, context, arena)
            let (g, u) = (saved.gate.matrix.rows(rows), saved.up.matrix.rows(rows))
            let gated = arena.matrix(rows.count, g.columns, of: Element.self)
            SwiGLU.forward(gate: g, up: u, into: gated)
            multiply(gated.plain, down.weight.transposed, into: stream, accumulating: true)
        }
    }

    /// Makes what `recompute` says was not kept, to the same bits.
    func restore(_ saved: BlockActivations<Element>, _ recompute: Recompute, _ context: BlockContext) throws {
        if recompute == .none { return }
        try context.forEachTokenBlock { rows, _, arena in
            if recompute == .block { projectHeads(saved, rows, context, arena) }
            project(saved, rows, context, arena)
        }
        if recompute == .block { try attend(saved, context) }
    }

    /// q, k and v of x, rotated.
    private func projectHeads(
        _ saved: BlockActivations<Element>, _ rows: Range<Int>, _ context: BlockContext, _ arena: Arena
    ) {
        let x = saved.residual.matrix.rows(rows)
        let (q, k, v) = (saved.query.matrix.rows(rows), saved.key.matrix.rows(rows), saved.value.matrix.rows(rows))
        let h = arena.matrix(rows.count, x.columns, of: Element.self)
        RMSNorm.forward(x, gain: inputNorm.weight, eps: context.eps, into: h)
        for (linear, result) in [(query, q), (key, k), (value, v)] {
            multiply(h.plain, linear.weight.transposed, into: result)
        }
        for heads in [q, k] {
            context.rope.rotate(heads, firstPosition: rows.lowerBound, period: context.length, .forward)
        }
    }

    /// Attention's output, of q, k and v.
    private func attend(_ saved: BlockActivations<Element>, _ context: BlockContext) throws {
        let (q, k, v) = (saved.query.matrix, saved.key.matrix, saved.value.matrix)
        let attention = context.attention
        try context.pool.forEach(
            context.sequences * attention.heads, cancellation: context.cancellation
        ) { task, worker in
            let (sequence, head) = task.quotientAndRemainder(dividingBy: attention.heads)
            let rows = sequence * context.length..<(sequence + 1) * context.length
            attention.forward(
                head: head, q: q.rows(rows), k: k.rows(rows), v: v.rows(rows),
                into: saved.attention.matrix.rows(rows),
                logDenominators: saved.logDenominators.data + task * context.length,
                arena: context.workspace.arena(of: worker))
        }
    }

    /// Gate and up projection of y.
    private func project(
        _ saved: BlockActivations<Element>, _ rows: Range<Int>, _ context: BlockContext, _ arena: Arena
    ) {
        let y = saved.middle.matrix.rows(rows)
        let m = arena.matrix(rows.count, y.columns, of: Element.self)
        RMSNorm.forward(y, gain: postAttentionNorm.weight, eps: context.eps, into: m)
        multiply(m.plain, gate.weight.transposed, into: saved.gate.matrix.rows(rows))
        multiply(m.plain, up.weight.transposed, into: saved.up.matrix.rows(rows))
    }

    /// Turns `buffers.residual` from the gradient of this block's output into that of its input, and
    /// adds to the gradients of its parameters. Spends `saved`.
    func backward(_ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, _ context: BlockContext)
        throws
    {
        try backwardMLP(saved, buffers, context)
        try backwardAttention(saved, buffers, context)
        try backwardProjections(saved, buffers, context)
    }

    private func backwardMLP(
        _ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, _ context: BlockContext
    ) throws {
        let (dout, dy) = (buffers.residual.values.matrix, buffers.middle.values.matrix)
        buffers.gains.zero()
        try context.forEachTokenBlock { rows, block, arena in
            let y = saved.middle.matrix.rows(rows)
            let (g, u) = (saved.gate.matrix.rows(rows), saved.up.matrix.rows(rows))
            let dgated = arena.matrix(rows.count, g.columns)
            buffers.residual.round(rows: rows)
            multiply(buffers.residual.operand.rows(rows).plain, down.weight.plain, into: dgated, accumulating: false)
            SwiGLU.backward(dgated, gate: g, up: u, product: buffers.gated.matrix.rows(rows))
            RMSNorm.forward(
                y, gain: postAttentionNorm.weight, eps: context.eps, into: buffers.normalized.matrix.rows(rows))
            let dm = arena.matrix(rows.count, y.columns)
            multiply(g.plain, gate.weight.plain, into: dm, accumulating: false)
            multiply(u.plain, up.weight.plain, into: dm, accumulating: true)
            copy(dout.rows(rows), to: dy.rows(rows))
            RMSNorm.backward(
                dm, x: y, gain: postAttentionNorm.weight, eps: context.eps,
                addingTo: dy.rows(rows), dgain: buffers.gains.matrix.row(block))
            buffers.middle.round(rows: rows)
            multiply(
                buffers.middle.operand.rows(rows).plain, output.weight.plain,
                into: buffers.attention.matrix.rows(rows))
        }
        addGainGradient(buffers, to: postAttentionNorm, context)
        let tokens = 0..<context.tokens
        try addWeightGradients(
            [
                (down, buffers.residual.operand.rows(tokens), buffers.gated.matrix.rows(tokens)),
                (gate, saved.gate.matrix.rows(tokens), buffers.normalized.matrix.rows(tokens)),
                (up, saved.up.matrix.rows(tokens), buffers.normalized.matrix.rows(tokens)),
                (output, buffers.middle.operand.rows(tokens), saved.attention.matrix.rows(tokens)),
            ], context)
    }

    private func backwardAttention(
        _ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, _ context: BlockContext
    ) throws {
        let attention = context.attention
        try context.pool.forEach(
            context.sequences * attention.keyValueHeads, cancellation: context.cancellation
        ) { task, worker in
            let (sequence, group) = task.quotientAndRemainder(dividingBy: attention.keyValueHeads)
            let rows = sequence * context.length..<(sequence + 1) * context.length
            attention.backward(
                group: group, q: saved.query.matrix.rows(rows), k: saved.key.matrix.rows(rows),
                v: saved.value.matrix.rows(rows), output: saved.attention.matrix.rows(rows),
                doutput: buffers.attention.matrix.rows(rows),
                logDenominators: { head in
                    UnsafePointer(saved.logDenominators.data + (sequence * attention.heads + head) * context.length)
                }, arena: context.workspace.arena(of: worker))
        }
    }

    private func backwardProjections(
        _ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, _ context: BlockContext
    ) throws {
        let (dq, dk, dv) = (saved.query.matrix, saved.key.matrix, saved.value.matrix)
        buffers.gains.zero()
        try context.forEachTokenBlock { rows, block, arena in
            let x = saved.residual.matrix.rows(rows)
            for heads in [dq, dk] {
                context.rope.rotate(
                    heads.rows(rows), firstPosition: rows.lowerBound, period: context.length, .backward)
            }
            RMSNorm.forward(
                x, gain: inputNorm.weight, eps: context.eps, into: buffers.normalized.matrix.rows(rows))
            let dh = arena.matrix(rows.count, x.columns)
            multiply(dq.rows(rows).plain, query.weight.plain, into: dh, accumulating: false)
            multiply(dk.rows(rows).plain, key.weight.plain, into: dh, accumulating: true)
            multiply(dv.rows(rows).plain, value.weight.plain, into: dh, accumulating: true)
            let dx = buffers.residual.values.matrix.rows(rows)
            copy(buffers.middle.values.matrix.rows(rows), to: dx)
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
func addWeightGradients<Element: ActivationElement>(
    _ products: [(linear: Linear<Element>, dy: Matrix<Element>, x: Matrix<Element>)], _ context: BlockContext
) throws {
    let tasks = products.flatMap { product in
        ranges(of: product.dy.columns, size: weightGradientBlock(rows: product.dy.columns)).map { (product, $0) }
    }
    try context.pool.forEach(tasks.count, cancellation: context.cancellation) { task, _ in
        let (product, rows) = tasks[task]
        multiply(
            product.dy.columns(rows).transposed, product.x.plain,
            into: product.linear.parameter.gradient.matrix.rows(rows), accumulating: true)
    }
}

/// Rows of a weight gradient that a worker takes at a time: an even number of blocks of up to 256 rows, so that
/// two workers, or four, are done at the same time.
private func weightGradientBlock(rows: Int) -> Int {
    let blocks = 2 * ((rows + 511) / 512)
    return ((rows + blocks - 1) / blocks + 15) & ~15
}

/// Adds the blocks' sums, in the order of the tokens, to a norm gain's gradient.
func addGainGradient<Element>(_ buffers: BackwardBuffers<Element>, to gain: Parameter, _ context: BlockContext) {
    for block in ranges(of: context.tokens, size: BlockContext.tokenBlock).indices {
        let part = buffers.gains.matrix.row(block)
        for j in 0..<gain.count { gain.gradient.data[j] += part[j] }
    }
}
