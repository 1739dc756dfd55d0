import LLaMA
import Optimizers
import TensorCore

/// Everything that can be measured, in the order in which it is.
var allTasks: [MeasuredTask] {
    kernelTasks(Float.self, llama130M)
        + (BFloat16Library.isSupportedByCPU ? kernelTasks(BFloat16.self, llama130M) : [])
        + linearAlgebraTasks + optimizerTasks
}

/// The model of `configs/llama130m.cfg`.
let llama130M = {
    var config = LLaMAConfig()
    (config.hiddenSize, config.intermediateSize) = (768, 2048)
    (config.numHiddenLayers, config.numAttentionHeads) = (12, 12)
    (config.vocabSize, config.maxPositionEmbeddings) = (32000, 1024)
    return config
}()

/// What the optimizers do with a matrix; each worker has one of its own.
private var linearAlgebraTasks: [MeasuredTask] {
    func task(
        _ name: String, _ rows: Int, _ columns: Int, flops: Int, isRounded: Bool = false,
        _ kernel: @escaping (Arena) -> (Matrix<Float>) throws -> Void
    ) -> MeasuredTask {
        let total = flops * availableCoreCount
        return MeasuredTask("\(name) \(rows)x\(columns)", isRounded ? .bf16(total) : .fp32(total)) { pool in
            let original = noise(rows, columns)
            let byteCount = Arena.byteCount { _ = kernel($0) }
            let copies = (0..<availableCoreCount).map { _ in
                let arena = Arena(byteCount: byteCount)
                return (arena: arena, matrix: Tensor<Float>(rows, columns), run: kernel(arena))
            }
            return .init(reset: { copies.forEach { $0.matrix.copy(from: original) } }) {
                try pool.forEach(copies.count, cancellation: nil) { copy, _ in
                    try copies[copy].run(copies[copy].matrix.matrix)
                }
            }
        }
    }
    func newtonSchulz(_ rows: Int, _ columns: Int, _ precision: NewtonSchulz.Precision) -> MeasuredTask {
        let newtonSchulz = NewtonSchulz(precision: precision)
        return task(
            "Newton-Schulz \(precision)", rows, columns, flops: newtonSchulz.flops(rows: rows, columns: columns),
            isRounded: precision == .bf16
        ) { arena in
            let scratch = newtonSchulz.scratch(arena, rows: rows, columns: columns)
            let pool = WorkerPool(threads: 1)
            return { newtonSchulz.orthogonalize($0, scratch, on: pool) }
        }
    }
    func qr(_ rows: Int, _ columns: Int, flops: Int) -> MeasuredTask {
        task("QR", rows, columns, flops: flops) { arena in
            let scratch = OrthonormalizationScratch(arena, rows: rows, columns: columns)
            let pool = WorkerPool(threads: 1)
            return { try orthonormalizeRows($0, scratch, on: pool) }
        }
    }
    let precisions = NewtonSchulz.Precision.allCases.filter { $0 == .fp32 || BFloat16Library.isSupportedByCPU }
    return precisions.flatMap { [newtonSchulz(768, 768, $0), newtonSchulz(2048, 768, $0)] } + [
        qr(768, 768, flops: 8 * 768 * 768 * 768 / 3), qr(2048, 2048, flops: 8 * 2048 * 2048 * 2048 / 3),
        qr(64, 2048, flops: 4 * 64 * 64 * 2048),
        task("eigenvectors", 768, 768, flops: 9 * 768 * 768 * 768) { arena in
            let scratch = EigenScratch<Float>(arena, order: 768)
            return { try eigenvectorRows(ofSymmetric: $0, scratch) }
        },
    ]
}

/// Steps of the optimizers: AdamW on the whole model, each on its 84 hidden matrices.
private var optimizerTasks: [MeasuredTask] {
    let config = llama130M
    let (h, i) = (config.hiddenSize, config.intermediateSize)
    func matrices() -> [Parameter] {
        (0..<config.numHiddenLayers).flatMap { layer in
            let shapes: [([Int], ParameterRole.Projection)] = [
                ([h, h], .query(headDim: config.headDim)), ([h, h], .key(headDim: config.headDim)), ([h, h], .value),
                ([h, h], .attentionOutput), ([i, h], .gate), ([i, h], .up), ([h, i], .down),
            ]
            return shapes.map { Parameter(name: "\(layer).\($1)", shape: $0, role: .matrix($1)) }
        }
    }
    func wholeModel() -> [Parameter] {
        [Parameter(name: "embedding", shape: [config.vocabSize, h], role: .embedding)] + matrices()
            + (0..<2 * config.numHiddenLayers + 1).map { Parameter(name: "norm \($0)", shape: [h], role: .vector) }
            + [Parameter(name: "lm_head", shape: [config.vocabSize, h], role: .lmHead)]
    }
    /// A step as the second one is; or, `renewing` the bases, as that is with which an interval ends.
    func step(
        _ name: String, _ cost: MeasuredTask.Cost?, of configuration: OptimizerConfiguration, renewing: Bool = false,
        on parameters: @escaping () -> [Parameter]
    ) -> MeasuredTask {
        MeasuredTask(name, cost) { pool in
            let parameters = parameters()
            let optimizer = Optimizer(configuration, parameters: parameters, pool: pool)
            let gradient = noise(1 << 20, scale: 1e-3)
            func fillGradients() {
                pool.forEach(parameters.count) { index, _ in
                    let target = parameters[index].gradient.elements
                    for start in stride(from: 0, to: target.count, by: gradient.count) {
                        let count = min(gradient.count, target.count - start)
                        (target.baseAddress! + start).update(from: gradient.data, count: count)
                    }
                }
            }
            for parameter in parameters { parameter.weight.elements.update(repeating: 0.02) }
            fillGradients()
            // The first makes the bases, and touches the memory of the state.
            try optimizer.step(learningRateFactor: 1e-3)
            let before = renewing ? configuration.refreshInterval : 1
            return .init(reset: {
                fillGradients()
                optimizer.stepCount = before
            }) {
                try optimizer.step(learningRateFactor: 1e-3)
            }
        }
    }
    /// With the defaults of training in bf16 where this CPU can.
    func configuration(_ optimizer: any OptimizerSettings.Type) -> OptimizerConfiguration {
        var settings = optimizer.init()
        settings.setDefaults(forBFloat16Training: BFloat16Library.isSupportedByCPU)
        return OptimizerConfiguration(settings)
    }
    let count = 2 * config.vocabSize * h + config.numHiddenLayers * (4 * h * h + 3 * h * i + 2 * h) + h
    return [step("AdamW 130M", .bytes(28 * count), of: OptimizerConfiguration(AdamW()), on: wholeModel)]
        + optimizers.flatMap { optimizer in
            let configuration = configuration(optimizer)
            let ordinary = step("optimizer step \(optimizer.name)", nil, of: configuration, on: matrices)
            guard configuration.refreshInterval > 1 else { return [ordinary] }
            let renewal = step(
                "optimizer step \(optimizer.name), new bases", nil, of: configuration, renewing: true, on: matrices)
            return [ordinary, renewal]
        }
}
