// The kernels of a training step, each to be timed alone on the shapes of a model, called and cut into
// tasks as `TransformerBlock` and `ModelPasses` do.

import LLaMA
import TensorCore

/// Every kernel on the shapes of `config`, and attention by itself for sequences of other lengths.
func kernelTasks<Element: ActivationElement>(_: Element.Type, _ config: LLaMAConfig) -> [MeasuredTask] {
    KernelTasks<Element>(config: config, microBatchSize: 4, length: 1024).all
        + [(8, 256), (1, 4096), (1, 16384)].flatMap {
            KernelTasks<Element>(config: config, microBatchSize: $0, length: $1).attention
        }
}

private struct AttentionBuffers<Element: ActivationElement> {
    let q, k, v, output: Tensor<Element>
    let lse: Tensor<Float>
    let workers: CausalSelfAttention.Workers
    let workspace: Workspace
}

private struct KernelTasks<Element: ActivationElement> {
    let config: LLaMAConfig
    let microBatchSize: Int
    let length: Int

    private var tokens: Int { microBatchSize * length }
    private var tokenTile: Int { BlockContext.tokenTile(tokens, Element.self) }
    private var hidden: Int { config.hiddenSize }
    private var intermediate: Int { config.intermediateSize }
    private var vocabulary: Int { config.vocabSize }
    private var precision: String { Element.self == Float.self ? "fp32" : "bf16" }
    private var elementSize: Int { MemoryLayout<Element>.stride }

    var all: [MeasuredTask] {
        elementwise + attention + [crossEntropy]
            + [(hidden, hidden), (intermediate, hidden), (hidden, intermediate)].flatMap(products)
    }

    private func flops(_ count: Int) -> MeasuredTask.Cost { Element.self == Float.self ? .fp32(count) : .bf16(count) }

    /// Work cut into the model's tiles of tokens.
    private func forEachTile(_ pool: WorkerPool, _ body: (_ rows: Range<Int>, _ tile: Int) -> Void) {
        let tiles = ranges(of: tokens, size: tokenTile)
        pool.forEach(tiles.count) { tile, _ in body(tiles[tile], tile) }
    }

    // MARK: - Bound by memory

    private var elementwise: [MeasuredTask] {
        let eps = Float(config.rmsNormEps)
        return [
            MeasuredTask("RMSNorm forward \(precision)", .bytes(tokens * hidden * 2 * elementSize)) { pool in
                let (x, gain) = (noise(tokens, hidden, of: Element.self), noise(hidden))
                let y = Tensor<Element>(tokens, hidden)
                return .init {
                    forEachTile(pool) { rows, _ in
                        RMSNorm.forward(x.matrix.rows(rows), gain: gain, eps: eps, into: y.matrix.rows(rows))
                    }
                }
            },
            MeasuredTask("RMSNorm backward \(precision)", .bytes(tokens * hidden * (12 + elementSize))) { pool in
                let (dy, x, dx, gain) = (
                    noise(tokens, hidden), noise(tokens, hidden, of: Element.self), noise(tokens, hidden),
                    noise(hidden)
                )
                let dgain = Tensor<Float>(tokens / tokenTile + 1, hidden)
                return .init {
                    forEachTile(pool) { rows, tile in
                        RMSNorm.backward(
                            dy.matrix.rows(rows), x: x.matrix.rows(rows), gain: gain, eps: eps,
                            addingTo: dx.matrix.rows(rows), dgain: dgain.matrix.row(tile))
                    }
                }
            },
            MeasuredTask("RoPE \(precision)", .bytes(tokens * hidden * 2 * elementSize)) { pool in
                let q = noise(tokens, hidden, of: Element.self)
                let rope = RoPE(headDim: config.headDim, length: length, theta: config.ropeTheta)
                return .init {
                    forEachTile(pool) { rows, _ in
                        rope.rotate(q.matrix.rows(rows), firstPosition: rows.lowerBound, period: length, .forward)
                    }
                }
            },
            MeasuredTask("SwiGLU forward \(precision)", .bytes(tokens * intermediate * 3 * elementSize)) { pool in
                let gate = noise(tokens, intermediate, of: Element.self)
                let up = noise(tokens, intermediate, of: Element.self)
                let product = Tensor<Element>(tokens, intermediate)
                return .init {
                    forEachTile(pool) { rows, _ in
                        SwiGLU.forward(
                            gate: gate.matrix.rows(rows), up: up.matrix.rows(rows), into: product.matrix.rows(rows))
                    }
                }
            },
            MeasuredTask("SwiGLU backward \(precision)", .bytes(tokens * intermediate * (4 + 5 * elementSize))) {
                pool in
                let ds = noise(tokens, intermediate)
                let original = noise(tokens, intermediate, of: Element.self)
                let (gate, up, product) = (
                    Tensor<Element>(tokens, intermediate), Tensor<Element>(tokens, intermediate),
                    Tensor<Element>(tokens, intermediate)
                )
                return .init(reset: { [gate, up].forEach { $0.copy(from: original) } }) {
                    forEachTile(pool) { rows, _ in
                        SwiGLU.backward(
                            ds.matrix.rows(rows), gate: gate.matrix.rows(rows), up: up.matrix.rows(rows),
                            product: product.matrix.rows(rows))
                    }
                }
            },
        ] + (Element.self == Float.self ? float32Only : [])
    }

    /// What is float32 whatever the activations are.
    private var float32Only: [MeasuredTask] {
        let targets = (0..<tokens).map { Int32($0 * 7919 % vocabulary) }
        return [
            MeasuredTask("embedding forward", .bytes(tokens * hidden * 8)) { pool in
                let (weight, x) = (noise(vocabulary, hidden), Tensor<Float>(tokens, hidden))
                return .init {
                    targets.withUnsafeBufferPointer { tokens in
                        forEachTile(pool) { rows, _ in
                            Embedding.forward(
                                UnsafeBufferPointer(rebasing: tokens[rows]), weight: weight.matrix,
                                into: x.matrix.rows(rows))
                        }
                    }
                }
            },
            MeasuredTask("embedding backward", .bytes(tokens * hidden * 12)) { pool in
                let (dx, gradient) = (noise(tokens, hidden), Tensor<Float>(vocabulary, hidden))
                let columns = ranges(of: hidden, size: 64)
                return .init {
                    targets.withUnsafeBufferPointer { tokens in
                        pool.forEach(columns.count) { tile, _ in
                            Embedding.backward(
                                dx.matrix, tokens: tokens, columns: columns[tile], addingTo: gradient.matrix)
                        }
                    }
                }
            },
            // Ten fused multiply-adds or what takes as long; the numbers stay in the first-level cache.
            MeasuredTask("exp", .fp32(20 * 4096 * 4096)) { pool in
                let values = (0..<4096 / 64).map { _ in (noise(4096), Tensor<Float>(4096)) }
                return .init {
                    pool.forEach(values.count) { tile, _ in
                        let (x, y) = values[tile]
                        for _ in 0..<64 {
                            forEachLanes(4096) { i, count in
                                Float.store(exp(Float.load(x.data + i, count: count)), y.data + i, count: count)
                            }
                        }
                    }
                }
            },
        ]
    }

    // MARK: - Bound by the multiply units

    var attention: [MeasuredTask] {
        let attention = CausalSelfAttention(config, length: length)
        let keyValue = config.numKeyValueHeads * config.headDim
        // Half of each head's T x T scores.
        let pairs = microBatchSize * config.numAttentionHeads * length * length / 2 * config.headDim
        func buffers(_ pool: WorkerPool) -> AttentionBuffers<Element> {
            AttentionBuffers(
                q: noise(tokens, hidden, of: Element.self), k: noise(tokens, keyValue, of: Element.self),
                v: noise(tokens, keyValue, of: Element.self), output: Tensor(tokens, hidden),
                lse: Tensor(tokens * attention.heads), workers: .init(pool, Element.self, attention),
                workspace: Workspace(workers: pool.workerCount) { arena in
                    arena.overlaid { _ = CausalSelfAttention.ForwardScratch<Element>(arena, attention) }
                    arena.overlaid { _ = CausalSelfAttention.BackwardScratch<Element>(arena, attention) }
                })
        }
        func forward(_ buffers: AttentionBuffers<Element>, _ pool: WorkerPool) {
            pool.forEach(attention.taskCount(microBatchSize)) { task, worker in
                attention.forward(
                    task: task, q: buffers.q.matrix, k: buffers.k.matrix, v: buffers.v.matrix,
                    into: buffers.output.matrix, lse: buffers.lse.data, buffers.workers,
                    arena: buffers.workspace.arena(of: worker))
            }
        }
        return [
            MeasuredTask("attention forward \(precision), \(length) tokens", flops(4 * pairs)) { pool in
                let buffers = buffers(pool)
                return .init { forward(buffers, pool) }
            },
            MeasuredTask("attention backward \(precision), \(length) tokens", flops(10 * pairs)) { pool in
                let buffers = buffers(pool)
                forward(buffers, pool)
                let original = [buffers.q, buffers.k, buffers.v].map { tensor in
                    let copy = Tensor<Element>(tensor.shape)
                    copy.copy(from: tensor)
                    return (tensor, copy)
                }
                let doutput = noise(tokens, hidden, of: Element.self)
                return .init(reset: { for (tensor, copy) in original { tensor.copy(from: copy) } }) {
                    pool.forEach(attention.taskCount(microBatchSize)) { task, worker in
                        attention.backward(
                            task: task, q: buffers.q.matrix, k: buffers.k.matrix, v: buffers.v.matrix,
                            output: buffers.output.matrix, doutput: doutput.matrix, lse: buffers.lse.data,
                            buffers.workers, arena: buffers.workspace.arena(of: worker))
                    }
                }
            },
        ]
    }

    private var crossEntropy: MeasuredTask {
        MeasuredTask("lm_head and cross-entropy \(precision)", flops(6 * hidden * vocabulary * tokens)) { pool in
            let parameter = Parameter(name: "lm_head", shape: [vocabulary, hidden], role: .lmHead)
            parameter.weight.copy(from: noise(vocabulary, hidden, scale: 0.02))
            let lmHead = Linear<Element>(parameter, tileRows: LinearCrossEntropy<Element>.vocabularyTile)
            for tile in lmHead.tiles { tile.weight.update() }
            func makeLoss(_ arena: Arena) -> LinearCrossEntropy<Element> {
                LinearCrossEntropy(arena, maxRows: tokens, lmHead: lmHead, pool: pool)
            }
            let memory = Arena { _ = makeLoss($0) }
            let loss = makeLoss(memory)
            let (h, dh) = (noise(tokens, hidden, of: Element.self), Tensor<Float>(tokens, hidden))
            let targets = (0..<tokens).map { Int32($0 * 7919 % vocabulary) }
            return .init {
                _ = try targets.withUnsafeBufferPointer { targets in
                    try withExtendedLifetime(memory) {
                        try loss(
                            h.matrix, lmHead: lmHead, targets: targets, gradient: (dh.matrix, 1e-3),
                            cancellation: nil)
                    }
                }
            }
        }
    }

    /// The three products with a weight [out, in].
    private func products(out: Int, in inner: Int) -> [MeasuredTask] {
        let cost = flops(2 * out * inner * tokens)
        func linear() -> Linear<Element> {
            let parameter = Parameter(name: "weight", shape: [out, inner], role: .matrix(.gate))
            parameter.weight.copy(from: noise(out, inner, scale: 0.02))
            let linear = Linear<Element>(parameter)
            linear.weight.update()
            return linear
        }
        return [
            MeasuredTask("gemm \(precision) y = x W', \(inner) to \(out)", cost) { pool in
                let (linear, x, y) = (
                    linear(), noise(tokens, inner, of: Element.self), Tensor<Element>(tokens, out)
                )
                return .init {
                    forEachTile(pool) { rows, _ in
                        multiply(
                            x.matrix.rows(rows).plain, linear.weight.transposed, into: y.matrix.rows(rows), on: pool)
                    }
                }
            },
            MeasuredTask("gemm \(precision) dx = dy W, \(out) to \(inner)", cost) { pool in
                let (linear, dy, dx) = (linear(), noise(tokens, out, of: Element.self), Tensor<Float>(tokens, inner))
                return .init {
                    forEachTile(pool) { rows, _ in
                        multiply(
                            dy.matrix.rows(rows).plain, linear.weight.plain, into: dx.matrix.rows(rows),
                            accumulating: false, on: pool)
                    }
                }
            },
            MeasuredTask("gemm \(precision) dW += dy' x, \(out) x \(inner)", cost) { pool in
                let (linear, dy, values) = (
                    linear(), noise(tokens, out, of: Element.self), noise(tokens, inner, of: Element.self)
                )
                let memory = Arena { _ = GradientInput<Element>($0, tokens: tokens, columns: inner) }
                let x = GradientInput<Element>(memory, tokens: tokens, columns: inner)
                withExtendedLifetime(values) { x.set(0..<tokens, to: values.matrix) }
                let tasks = weightGradient(linear, dy.matrix, x)
                let workspace = Workspace(workers: pool.workerCount) {
                    WeightGradient<Element>.scratch($0, tokens: tokens)
                }
                // The tasks hold views.
                return .init {
                    withExtendedLifetime((linear, dy, memory)) {
                        pool.forEach(tasks.count) { index, worker in
                            tasks[index].run(workspace.arena(of: worker), on: pool)
                        }
                    }
                }
            },
        ]
    }
}
