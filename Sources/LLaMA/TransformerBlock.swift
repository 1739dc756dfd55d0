// One pre-norm transformer block (LLaMA, Touvron et al. 2023).
//
//     h = RMSNorm(x);    q, k, v = h Wq', h Wk', h Wv';    q, k = RoPE(q), RoPE(k)
//     y = x + attention(q, k, v) Wo'
//     m = RMSNorm(y);    out = y + (silu(m Wg') * (m Wu')) Wd'
//
// Weights are [out_features, in_features]; x, y, out: [tokens, hidden_size].
//
// How the work is cut: a pass is three phases, by tiles of tokens, by attention head, by tiles of
// tokens again. Within a tile of tokens everything from one norm to the next product happens while
// the tile's rows are in cache; idle workers help with its products. Weight gradients contract over all
// tokens of the micro-batch, so they are cut into tiles of the weight instead, and wait for a later phase
// whose workers they keep busy. No tile's shape depends on the number of workers.
//
// Kept for the backward pass, a token: x, y (hidden_size each), q, attention output (heads * d each),
// k, v (kv heads * d each), gate and up (intermediate_size each), the log-sum-exp (LSE) of the scores, one a head. The
// normalized rows and silu(gate) * up are rebuilt, and with `Recompute` more than that. q, k, v, gate
// and up are overwritten by their gradients, which the weight gradients then read.
// Numerics: the residual stream runs through all blocks in float32, in place. What is kept of it, x and y,
// has the activations' type, and the norms read that: both passes, and what is recomputed, see the same
// numbers.
// Cost: 2 FLOPs a weight and token forward, 4 backward, and attention's (see CausalSelfAttention).

import TensorCore

/// What a transformer block needs besides its weights; shared by all blocks.
package struct BlockContext {
    let config: LLaMAConfig
    let pool: WorkerPool
    let workspace: Workspace
    let attentionWorkers: CausalSelfAttention.Workers
    let rope: RoPE
    var cancellation: CancellationFlag?
    /// Sequences in this micro-batch and tokens in each.
    let sequences: Int
    let length: Int
    /// Tokens in a tile of rows.
    let tokenTile: Int

    var tokens: Int { sequences * length }
    var eps: Float { Float(config.rmsNormEps) }
    var attention: CausalSelfAttention { CausalSelfAttention(config, length: length) }

    /// Of a micro-batch of so many tokens: enough that a product runs near its full speed. Where weights are packed few
    /// rows do; more mean that a weight is read from memory less often.
    package static func tokenTile<Element: ActivationElement>(_ tokens: Int, _: Element.Type) -> Int {
        Element.packsWeights && tokens < 16384 ? tokens < 4096 ? 64 : 128 : 256
    }

    /// Scratch of one worker: what the largest task takes.
    static func scratch<Element: ActivationElement>(
        _: Element.Type, _ arena: Arena, _ config: LLaMAConfig, _ attention: CausalSelfAttention, tokens: Int,
        tokenTile rows: Int
    ) {
        // The gradients of two norms' outputs, or of one and the gated activation; and an input of weight gradients.
        let width = max(config.hiddenSize, config.intermediateSize)
        arena.overlaid {
            _ = (
                arena.matrix(rows, config.hiddenSize), arena.matrix(rows, width),
                arena.matrix(rows, width, of: Element.self)
            )
        }
        arena.overlaid { WeightGradient<Element>.scratch(arena, tokens: tokens) }
        arena.overlaid { _ = CausalSelfAttention.ForwardScratch<Element>(arena, attention) }
        arena.overlaid { _ = CausalSelfAttention.BackwardScratch<Element>(arena, attention) }
    }

    var tokenTiles: Ranges { ranges(of: tokens, size: tokenTile) }

    /// Runs `body` for each tile of tokens, and what may be done meanwhile.
    func forEachTokenTile<Element>(
        phase: StaticString = #function,
        alongside others: [SideTask<Element>] = [SideTask<Float>](),
        _ body: (_ rows: Range<Int>, _ tile: Int, _ arena: Arena) -> Void
    ) throws {
        let tokenTiles = tokenTiles
        try forEach(tokenTiles.count, phase: phase, alongside: others) { tile, arena in
            body(tokenTiles[tile], tile, arena)
        }
    }

    /// Runs `body` for so many tasks, and what may be done meanwhile.
    func forEach<Element>(
        _ count: Int, phase: StaticString = #function, alongside others: [SideTask<Element>],
        _ body: (_ task: Int, _ arena: Arena) -> Void
    ) throws {
        try pool.forEach(others.count + count, phase: phase, cancellation: cancellation) { task, worker in
            let arena = workspace.arena(of: worker)
            if task < others.count {
                others[task].run(arena, on: pool)
            } else {
                body(task - others.count, arena)
            }
        }
    }
}

final class TransformerBlock<Element: ActivationElement> {
    private let query, key, value, output: Linear<Element>
    private let gate, up, down: Linear<Element>
    private let inputNorm, postAttentionNorm: Parameter

    /// Weights are packed for each pass, where those of the `first` block are: two more copies of all of them would be
    /// as much as an optimizer's state.
    init(_ parameters: BlockParameters, first: TransformerBlock?) {
        func linear(_ parameter: Parameter, _ other: Linear<Element>?) -> Linear<Element> {
            Linear(parameter, memory: .shared(other?.weight))
        }
        query = linear(parameters.query, first?.query)
        key = linear(parameters.key, first?.key)
        value = linear(parameters.value, first?.value)
        output = linear(parameters.output, first?.output)
        gate = linear(parameters.gate, first?.gate)
        up = linear(parameters.up, first?.up)
        down = linear(parameters.down, first?.down)
        inputNorm = parameters.inputNorm
        postAttentionNorm = parameters.postAttentionNorm
    }

    var linears: [Linear<Element>] { [query, key, value, output, gate, up, down] }

    /// The weights that one phase of a pass reads, or the other: before attention in the forward pass, after it in the
    /// backward pass; and the rest.
    enum Weights { case headProjections, others }

    /// What must be done before that phase, where weights are packed.
    func packing(_ weights: Weights, for direction: WeightOperand<Element>.Direction) -> [SideTask<Element>] {
        let linears = weights == .headProjections ? [query, key, value] : [output, gate, up, down]
        return linears.flatMap { $0.weight.packing(direction).map(SideTask.packing) }
    }

    /// Takes `stream` from x to the block's output; fills `saved`. The `next` block's weights are packed meanwhile, as
    /// this one's must be.
    func forward(
        _ stream: Matrix<Float>, _ saved: BlockActivations<Element>, next: TransformerBlock?, _ context: BlockContext
    ) throws {
        try context.forEachTokenTile(phase: "forward: q, k, v") { rows, _, arena in
            copy(stream.rows(rows), to: saved.residual.matrix.rows(rows))
            projectHeads(saved, rows, context, arena)
        }
        try attend(saved, alongside: packing(.others, for: .forward), context)
        let packing = next?.packing(.headProjections, for: .forward) ?? []
        try context.forEachTokenTile(phase: "forward: output, MLP", alongside: packing) { rows, _, arena in
            let stream = stream.rows(rows)
            multiply(
                saved.attention.matrix.rows(rows).plain, output.weight.transposed, into: stream, accumulating: true,
                on: context.pool)
            copy(stream, to: saved.middle.matrix.rows(rows))
            project(saved, rows, context, arena)
            let (g, u) = (saved.gate.matrix.rows(rows), saved.up.matrix.rows(rows))
            let gated = arena.matrix(rows.count, g.columns, of: Element.self)
            SwiGLU.forward(gate: g, up: u, into: gated)
            multiply(gated.plain, down.weight.transposed, into: stream, accumulating: true, on: context.pool)
        }
    }

    /// Makes what `recompute` says was not kept, to the same bits.
    func restore(_ saved: BlockActivations<Element>, _ recompute: Recompute, _ context: BlockContext) throws {
        if recompute == .none { return }
        let weights =
            (recompute == .block ? packing(.headProjections, for: .forward) : []) + packing(.others, for: .forward)
        try context.forEach(0, phase: "recompute: weights", alongside: weights) { _, _ in }
        try context.forEachTokenTile(phase: "recompute") { rows, _, arena in
            if recompute == .block { projectHeads(saved, rows, context, arena) }
            project(saved, rows, context, arena)
        }
        if recompute == .block { try attend(saved, alongside: [], context) }
        try context.forEach(0, phase: "recompute: weights", alongside: packing(.others, for: .backward)) { _, _ in }
    }

    /// q, k and v of x, rotated.
    private func projectHeads(
        _ saved: BlockActivations<Element>, _ rows: Range<Int>, _ context: BlockContext, _ arena: Arena
    ) {
        let x = saved.residual.matrix.rows(rows)
        let (q, k, v) = (saved.query.matrix.rows(rows), saved.key.matrix.rows(rows), saved.value.matrix.rows(rows))
        let h = arena.matrix(rows.count, x.columns, of: Element.self)
        RMSNorm.forward(x, gain: inputNorm.values, eps: context.eps, into: h)
        let projections = [(query, q), (key, k), (value, v)]
        context.pool.forEach(projections.count) { index, _ in
            let (linear, result) = projections[index]
            multiply(h.plain, linear.weight.transposed, into: result, on: context.pool)
        }
        for heads in [q, k] {
            context.rope.rotate(heads, firstPosition: rows.lowerBound, period: context.length, .forward)
        }
    }

    /// Attention's output, of q, k and v.
    private func attend(
        _ saved: BlockActivations<Element>, alongside others: [SideTask<Element>], _ context: BlockContext
    ) throws {
        let attention = context.attention
        try context.forEach(
            attention.taskCount(context.sequences), phase: "forward: attention", alongside: others
        ) { task, arena in
            attention.forward(
                task: task, q: saved.query.matrix, k: saved.key.matrix, v: saved.value.matrix,
                into: saved.attention.matrix, lse: saved.lse.data, context.attentionWorkers, arena: arena)
        }
    }

    /// Gate and up projection of y.
    private func project(
        _ saved: BlockActivations<Element>, _ rows: Range<Int>, _ context: BlockContext, _ arena: Arena
    ) {
        let y = saved.middle.matrix.rows(rows)
        let m = arena.matrix(rows.count, y.columns, of: Element.self)
        RMSNorm.forward(y, gain: postAttentionNorm.values, eps: context.eps, into: m)
        let projections = [(gate, saved.gate), (up, saved.up)]
        context.pool.forEach(projections.count) { index, _ in
            let (linear, result) = projections[index]
            multiply(m.plain, linear.weight.transposed, into: result.matrix.rows(rows), on: context.pool)
        }
    }

    /// Turns `buffers.residual` from the gradient of this block's output into that of its input, and
    /// adds to the gradients of its parameters. Spends `saved`. The weights of the `next` block to go backward are packed
    /// meanwhile, as this one's must be.
    func backward(
        _ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, next: TransformerBlock?,
        _ context: BlockContext
    ) throws {
        try backwardMLP(saved, buffers, context)
        try backwardAttention(saved, buffers, context)
        try backwardProjections(saved, buffers, next: next, context)
    }

    private func backwardMLP(
        _ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, _ context: BlockContext
    ) throws {
        let (dout, dy) = (buffers.residual.values, buffers.middle.values)
        let pool = context.pool
        buffers.gains.zero()
        try context.forEachTokenTile(phase: "backward: MLP", alongside: buffers.takeWaiting()) { rows, tile, arena in
            let y = saved.middle.matrix.rows(rows)
            let (g, u) = (saved.gate.matrix.rows(rows), saved.up.matrix.rows(rows))
            let dgated = arena.matrix(rows.count, g.columns)
            buffers.residual.round(rows: rows)
            multiply(
                buffers.residual.operand.rows(rows).plain, down.weight.plain, into: dgated, accumulating: false,
                on: pool)
            buffers.gated.set(rows, arena) { SwiGLU.backward(dgated, gate: g, up: u, product: $0) }
            buffers.mlpInput.set(rows, arena) {
                RMSNorm.forward(y, gain: postAttentionNorm.values, eps: context.eps, into: $0)
            }
            buffers.attentionOutput.set(rows, to: saved.attention.matrix.rows(rows))
            let dm = arena.matrix(rows.count, y.columns)
            multiply(g.plain, gate.weight.plain, into: dm, accumulating: false, on: pool)
            multiply(u.plain, up.weight.plain, into: dm, accumulating: true, on: pool)
            copy(dout.rows(rows), to: dy.rows(rows))
            RMSNorm.backward(
                dm, x: y, gain: postAttentionNorm.values, eps: context.eps,
                addingTo: dy.rows(rows), dgain: buffers.gains.matrix.row(tile))
            buffers.middle.round(rows: rows)
            multiply(
                buffers.middle.operand.rows(rows).plain, output.weight.plain,
                into: buffers.attention.rows(rows), on: pool)
        }
        addGainGradient(buffers, to: postAttentionNorm, context)
    }

    private func backwardAttention(
        _ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, _ context: BlockContext
    ) throws {
        let attention = context.attention
        let tokens = 0..<context.tokens
        let gradients =
            weightGradient(down, buffers.residual.operand.rows(tokens), buffers.gated)
            + weightGradient(output, buffers.middle.operand.rows(tokens), buffers.attentionOutput)
        try context.forEach(
            attention.taskCount(context.sequences), phase: "backward: attention",
            alongside: gradients + packing(.headProjections, for: .backward)
        ) { task, arena in
            attention.backward(
                task: task, q: saved.query.matrix, k: saved.key.matrix, v: saved.value.matrix,
                output: saved.attention.matrix, doutput: buffers.attention, lse: saved.lse.data,
                context.attentionWorkers, arena: arena)
        }
    }

    private func backwardProjections(
        _ saved: BlockActivations<Element>, _ buffers: BackwardBuffers<Element>, next: TransformerBlock?,
        _ context: BlockContext
    ) throws {
        let (dq, dk, dv) = (saved.query.matrix, saved.key.matrix, saved.value.matrix)
        let (tokens, pool) = (0..<context.tokens, context.pool)
        let gradients =
            weightGradient(gate, saved.gate.matrix.rows(tokens), buffers.mlpInput)
            + weightGradient(up, saved.up.matrix.rows(tokens), buffers.mlpInput)
        buffers.gains.zero()
        let packing = next?.packing(.others, for: .backward) ?? []
        try context.forEachTokenTile(phase: "backward: q, k, v", alongside: gradients + packing) { rows, tile, arena in
            let x = saved.residual.matrix.rows(rows)
            for heads in [dq, dk] {
                context.rope.rotate(
                    heads.rows(rows), firstPosition: rows.lowerBound, period: context.length, .backward)
            }
            buffers.attentionInput.set(rows, arena) {
                RMSNorm.forward(x, gain: inputNorm.values, eps: context.eps, into: $0)
            }
            let dh = arena.matrix(rows.count, x.columns)
            multiply(dq.rows(rows).plain, query.weight.plain, into: dh, accumulating: false, on: pool)
            multiply(dk.rows(rows).plain, key.weight.plain, into: dh, accumulating: true, on: pool)
            multiply(dv.rows(rows).plain, value.weight.plain, into: dh, accumulating: true, on: pool)
            let dx = buffers.residual.values.rows(rows)
            copy(buffers.middle.values.rows(rows), to: dx)
            RMSNorm.backward(
                dh, x: x, gain: inputNorm.values, eps: context.eps,
                addingTo: dx, dgain: buffers.gains.matrix.row(tile))
        }
        addGainGradient(buffers, to: inputNorm, context)
        buffers.waiting = [(query, dq), (key, dk), (value, dv)].flatMap { linear, dy in
            weightGradient(linear, dy.rows(tokens), buffers.attentionInput)
        }
    }
}

/// Adds the tiles' sums, in the order of the tokens, to a norm gain's gradient.
func addGainGradient<Element>(_ buffers: BackwardBuffers<Element>, to gain: Parameter, _ context: BlockContext) {
    for tile in context.tokenTiles.indices {
        let part = buffers.gains.matrix.row(tile)
        for j in 0..<gain.count { gain.gradient.data[j] += part[j] }
    }
}
