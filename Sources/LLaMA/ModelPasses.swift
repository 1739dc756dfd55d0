import TensorCore

/// Where the time of training passes went, in seconds, since the model was made.
public struct PassSeconds: Sendable {
    public var forward = 0.0
    /// lm_head and loss, both ways.
    public var lmHead = 0.0
    /// What is recomputed included.
    public var backward = 0.0

    public init(forward: Double = 0, lmHead: Double = 0, backward: Double = 0) {
        (self.forward, self.lmHead, self.backward) = (forward, lmHead, backward)
    }

    package static func - (a: PassSeconds, b: PassSeconds) -> PassSeconds {
        PassSeconds(forward: a.forward - b.forward, lmHead: a.lmHead - b.lmHead, backward: a.backward - b.backward)
    }
}

/// The whole model's passes over one micro-batch, with activations of type `Element`.
final class ModelPasses<Element: ActivationElement> {
    private let config: LLaMAConfig
    private let pool: WorkerPool
    private let microBatchSize: Int
    private let length: Int

    private let embedding: Parameter
    private let blocks: [TransformerBlock<Element>]
    private let blockParameters: [BlockParameters]
    private let finalNorm: Parameter
    private let lmHead: Linear<Element>
    private let linears: [Linear<Element>]
    private let tokenTile: Int

    private let rope: RoPE
    private let workspace: Workspace
    private let attentionWorkers: CausalSelfAttention.Workers
    /// What lm_head needs, and after it the backward pass: never at the same time.
    private let sharedMemory: Arena
    private let loss: LinearCrossEntropy<Element>
    private let recompute: Recompute
    private let activations: [BlockActivations<Element>]
    /// The residual stream: the embedding on entry of the first block, the last block's output in the end.
    private let stream: Tensor<Float>
    private let normalized: Tensor<Element>
    private let buffers: BackwardBuffers<Element>
    private(set) var seconds = PassSeconds()

    init(_ model: LLaMA, microBatchSize: Int, length: Int, recompute: Recompute) {
        let config = model.config
        self.config = config
        pool = model.pool
        self.microBatchSize = microBatchSize
        self.length = length
        embedding = model.embedding
        blocks = model.blocks.reduce(into: []) { $0.append(TransformerBlock($1, first: $0.first)) }
        blockParameters = model.blocks
        finalNorm = model.finalNorm
        // It is read chunk by chunk, so it is packed once a step where memory does not come first.
        let lmHead = Linear<Element>(
            model.lmHead, tileRows: LinearCrossEntropy<Element>.vocabularyTile,
            memory: recompute == .block ? .scratch : .own)
        self.lmHead = lmHead
        linears = [lmHead] + blocks.flatMap(\.linears)

        let maxTokens = microBatchSize * length
        let tokenTile = BlockContext.tokenTile(maxTokens, Element.self)
        self.tokenTile = tokenTile
        rope = RoPE(headDim: config.headDim, length: length, theta: config.ropeTheta)
        let attention = CausalSelfAttention(config, length: length)
        workspace = Workspace(workers: pool.workerCount) {
            BlockContext.scratch(Element.self, $0, config, attention, tokens: maxTokens, tokenTile: tokenTile)
        }
        attentionWorkers = CausalSelfAttention.Workers(pool, Element.self, attention)
        func overlaid(_ arena: Arena) -> (LinearCrossEntropy<Element>, BackwardBuffers<Element>) {
            (
                arena.overlaid { LinearCrossEntropy(arena, maxRows: maxTokens, lmHead: lmHead, pool: model.pool) },
                arena.overlaid { BackwardBuffers(arena, config, maxTokens: maxTokens) }
            )
        }
        sharedMemory = Arena { _ = overlaid($0) }
        (loss, buffers) = overlaid(sharedMemory)
        self.recompute = recompute
        let first = BlockActivations<Element>(config, maxTokens: maxTokens, recompute: recompute, first: nil)
        activations =
            [first]
            + blocks.dropFirst().map { _ in
                BlockActivations(config, maxTokens: maxTokens, recompute: recompute, first: first)
            }
        stream = Tensor(maxTokens, config.hiddenSize)
        normalized = Tensor(maxTokens, config.hiddenSize)
    }

    /// All but the parameters. With `forwardOnly`, what is ever touched where there is no backward pass: one
    /// block's activations serve all.
    func memory(forwardOnly: Bool) -> LLaMAMemory {
        let kept = forwardOnly ? activations.prefix(1) : activations[...]
        return LLaMAMemory(
            weights: 0, gradients: 0, weightOperands: linears.reduce(0) { $0 + $1.operandByteCount },
            activations: kept.reduce(stream.byteCount + normalized.byteCount) { $0 + $1.byteCount },
            activationGradients: forwardOnly ? 0 : buffers.byteCount,
            logits: loss.byteCount + (forwardOnly ? loss.logitsByteCount : sharedMemory.byteCount),
            workspace: workspace.byteCount + attentionWorkers.tiles.byteCount + loss.scratchByteCount
                + rope.byteCount)
    }

    /// Brings lm_head's operands up to date with its weight.
    func roundWeights() {
        guard lmHead.parameter.takeChange() else { return }
        let tasks = lmHead.tiles.flatMap { $0.weight.packing(.forward) + $0.weight.packing(.backward) }
        pool.forEach(tasks.count, phase: "packing of weights") { index, _ in tasks[index].run() }
    }

    func accumulateGradients(
        _ batch: TokenBatch, tokenWeight: Float, cancellation: CancellationFlag?, spend: SpendGradients?
    ) throws -> TokenLoss {
        var context = context(batch, cancellation)
        let rows = 0..<context.tokens
        let clock = ContinuousClock()
        let started = clock.now
        var spending = Duration.zero
        // A pass that was cancelled may have left some.
        buffers.waiting = []
        return try batch.tokens.withUnsafeBufferPointer { tokens in
            try embed(tokens, context)
            try forward(saving: activations, context)
            let forwardDone = clock.now
            let dh = buffers.middle.values.rows(rows)
            let result = try batch.targets.withUnsafeBufferPointer {
                try loss(
                    normalized.matrix.rows(rows), lmHead: lmHead, targets: $0, gradient: (dh, tokenWeight),
                    cancellation: cancellation)
            }
            let lossDone = clock.now
            if spend != nil { context.cancellation = nil }
            func handOn(_ parameters: [Parameter]) throws {
                guard let spend else { return }
                let started = clock.now
                try spend(parameters, result)
                LLaMA.zeroGradients(of: parameters, on: pool)
                spending += clock.now - started
            }
            let dx = buffers.residual.values.rows(rows)
            buffers.gains.zero()
            let packing = blocks.last?.packing(.others, for: .backward) ?? []
            try context.forEachTokenTile(phase: "backward: final norm", alongside: packing) { rows, tile, _ in
                let dx = dx.rows(rows)
                for i in 0..<dx.rows { dx.row(i).update(repeating: 0, count: dx.columns) }
                RMSNorm.backward(
                    dh.rows(rows), x: stream.matrix.rows(rows), gain: finalNorm.values, eps: context.eps,
                    addingTo: dx, dgain: buffers.gains.matrix.row(tile))
            }
            addGainGradient(buffers, to: finalNorm, context)
            let isTied = lmHead.parameter === embedding
            try handOn((isTied ? [] : [lmHead.parameter]) + [finalNorm])
            for (layer, block) in blocks.enumerated().reversed() {
                // The last block's are still there.
                if layer + 1 < blocks.count { try block.restore(activations[layer], recompute, context) }
                let next = recompute == .none && layer > 0 ? blocks[layer - 1] : nil
                try block.backward(activations[layer], buffers, next: next, context)
                // What is recomputed is written to what the weight gradients that wait will read.
                if recompute == .block || spend != nil {
                    try context.forEach(
                        0, phase: "backward: weights of q, k, v", alongside: buffers.takeWaiting()
                    ) { _, _ in }
                }
                try handOn(blockParameters[layer].all)
            }
            let columnTiles = ranges(of: config.hiddenSize, size: 32)
            try context.forEach(
                columnTiles.count, phase: "backward: embedding", alongside: buffers.takeWaiting()
            ) { tile, _ in
                Embedding.backward(
                    dx, tokens: tokens, columns: columnTiles[tile], addingTo: embedding.gradient.matrix)
            }
            try handOn([embedding])
            seconds.forward += (forwardDone - started) / .seconds(1)
            seconds.lmHead += (lossDone - forwardDone) / .seconds(1)
            seconds.backward += (clock.now - lossDone - spending) / .seconds(1)
            return result
        }
    }

    func evaluateLoss(_ batch: TokenBatch, cancellation: CancellationFlag?) throws -> TokenLoss {
        let context = context(batch, cancellation)
        try forwardOnly(batch.tokens, context)
        return try batch.targets.withUnsafeBufferPointer {
            try loss(
                normalized.matrix.rows(0..<context.tokens), lmHead: lmHead, targets: $0, gradient: nil,
                cancellation: cancellation)
        }
    }

    func logits(_ batch: TokenBatch) throws -> Tensor<Float> {
        let context = context(batch, nil)
        try forwardOnly(batch.tokens, context)
        let result = Tensor<Float>(context.tokens, config.vocabSize)
        let arena = Arena { _ = lmHead.tiles.first?.weight.scratch(.forward, $0) }
        for (columns, weight) in lmHead.tiles {
            let tile = Tensor<Float>(context.tokens, columns.count)
            withExtendedLifetime((tile, arena)) {
                arena.reset()
                multiply(
                    normalized.matrix.rows(0..<context.tokens).plain, weight.operand(.forward, arena),
                    into: tile.matrix, accumulating: false)
                copy(tile.matrix, to: result.matrix.columns(columns))
            }
        }
        return result
    }

    /// Leaves the final norm's output in `normalized`.
    private func forwardOnly(_ tokens: [Int32], _ context: BlockContext) throws {
        try tokens.withUnsafeBufferPointer { try embed($0, context) }
        try forward(saving: blocks.map { _ in activations[0] }, context)
    }

    /// From the embedding to the final norm.
    private func forward(saving saved: [BlockActivations<Element>], _ context: BlockContext) throws {
        for (layer, block) in blocks.enumerated() {
            let next = layer + 1 < blocks.count ? blocks[layer + 1] : nil
            try block.forward(stream.matrix, saved[layer], next: next, context)
        }
        try normalize(context)
    }

    private func embed(_ tokens: UnsafeBufferPointer<Int32>, _ context: BlockContext) throws {
        let packing = blocks.first?.packing(.headProjections, for: .forward) ?? []
        try context.forEachTokenTile(phase: "forward: embedding", alongside: packing) { rows, _, _ in
            Embedding.forward(
                UnsafeBufferPointer(rebasing: tokens[rows]), weight: embedding.values.matrix,
                into: stream.matrix.rows(rows))
        }
    }

    private func normalize(_ context: BlockContext) throws {
        try context.forEachTokenTile(phase: "forward: final norm") { rows, _, _ in
            RMSNorm.forward(
                stream.matrix.rows(rows), gain: finalNorm.values, eps: context.eps,
                into: normalized.matrix.rows(rows))
        }
    }

    /// Checks the batch and rounds the weights: every pass begins with this.
    private func context(_ batch: TokenBatch, _ cancellation: CancellationFlag?) -> BlockContext {
        let count = batch.sequences * length
        require(
            (1...microBatchSize).contains(batch.sequences) && batch.tokens.count == count
                && batch.targets.count == count,
            "micro-batch of \(batch.sequences) sequences with \(batch.tokens.count) tokens and "
                + "\(batch.targets.count) targets in a model for \(microBatchSize) sequences of \(length)")
        let vocabulary = Int32(config.vocabSize)
        require(
            batch.tokens.allSatisfy { 0 <= $0 && $0 < vocabulary } && batch.targets.allSatisfy { $0 < vocabulary },
            "token ids beyond a vocabulary of \(vocabulary)")
        roundWeights()
        return BlockContext(
            config: config, pool: pool, workspace: workspace, attentionWorkers: attentionWorkers, rope: rope,
            cancellation: cancellation, sequences: batch.sequences, length: length, tokenTile: tokenTile)
    }
}
