import LLaMA
import Optimizers
import TensorCore

/// Measures the optimizer's step on parameters of the model's shapes, without the model.
///
/// Embedding, lm_head and norm gains are stepped as they are. Of the hidden matrices only those of some
/// layers are: the time of the whole model is theirs times the layers. A rule that multiplies matrices
/// is measured at growing fractions f of each dimension for as long as time allows, and the last time is
/// divided by f³: matrix products, QR and eigenproblems are all cubic.
///
/// A rule that renews a basis now and then is measured at an ordinary step and at a renewal; the mean
/// over the interval is what counts. The very first step, which may cost more, is not looked at.
struct OptimizerProbe {
    /// The mean of a step, all parameters.
    let secondsPerStep: Double
    /// Layers whose matrices were stepped.
    let layers: Int
    /// The smallest f; 1: the real shapes.
    let fraction: Double

    /// Takes about `seconds`.
    init(
        _ configuration: OptimizerConfiguration, model: LLaMAConfig, parameters: [Parameter], pool: WorkerPool,
        seconds: Double
    ) throws {
        let matrices = parameters.filter(\.role.isMatrix)
        let layer = Array(matrices.prefix(matrices.count / model.numHiddenLayers))
        let multiplies = withoutMemory {
            Optimizer(configuration, parameters: layer, pool: pool).scratchByteCount > 0
        }
        // Enough matrices that the workers' shares even out; for rules bound by memory, more than a cache holds.
        var layers = (2 * pool.workerCount + layer.count - 1) / layer.count
        if !multiplies { layers = max(layers, (16 << 20) / layer.reduce(0) { $0 + $1.count }) }
        layers = min(layers, model.numHiddenLayers)
        self.layers = layers

        /// The time of step `step` + 1 of some parameters at a fraction of their size.
        func time(_ parameters: [Parameter], scale: Int, afterStep step: Int, seconds: Double) throws -> Double {
            let optimizer = Optimizer(configuration, parameters: parameters.map { copy($0, scale: scale) }, pool: pool)
            // No second moment is negative, and zeros would be multiplied faster.
            for state in optimizer.state { fill(state.tensor, from: 0, seed: state.name) }
            return try medianTime(seconds: 0.1 * seconds) {
                optimizer.stepCount = step
                try optimizer.step(learningRateFactor: 1e-6)
            }
        }
        var smallest = 1.0
        func matrixTime(afterStep step: Int, seconds: Double) throws -> Double {
            let copies = (0..<layers).flatMap { _ in layer }
            let narrowest = layer.compactMap { $0.shape.min() }.min() ?? 1
            var scale = 1
            if multiplies { while narrowest / (2 * scale) >= 128 { scale *= 2 } }
            while true {
                let time = try time(copies, scale: scale, afterStep: step, seconds: 0.5 * seconds)
                // The next takes eight times as long, and runs at least twice.
                if scale == 1 || 16 * time > seconds {
                    smallest = min(smallest, 1 / Double(scale))
                    return time * Double(scale * scale * scale)
                }
                scale /= 2
            }
        }

        let others = parameters.filter { !$0.role.isMatrix }
        let otherTime = try time(others, scale: 1, afterStep: 1, seconds: 0.2 * seconds)
        // Step 2 is an ordinary one for every interval.
        var mean = try matrixTime(afterStep: 1, seconds: 0.4 * seconds)
        let interval = configuration.refreshInterval
        if interval > 1 {
            let renewal = try matrixTime(afterStep: interval, seconds: 0.4 * seconds)
            mean += max(0, renewal - mean) / Double(interval)
        }
        secondsPerStep = otherTime + mean * Double(model.numHiddenLayers) / Double(layers)
        fraction = smallest
    }
}

/// A parameter of that shape and role with random gradients, each dimension divided by `scale`.
private func copy(_ parameter: Parameter, scale: Int) -> Parameter {
    let role: ParameterRole =
        switch parameter.role {
        case .matrix(.query(let headDim)): .matrix(.query(headDim: max(1, headDim / scale)))
        case .matrix(.key(let headDim)): .matrix(.key(headDim: max(1, headDim / scale)))
        default: parameter.role
        }
    let new = Parameter(name: parameter.name, shape: parameter.shape.map { $0 / scale }, role: role)
    fill(new.gradient, from: -1e-3, seed: new.name)
    return new
}

/// Uniform random numbers from `low` to 0.001: a prime number of them, again and again.
func fill(_ tensor: Tensor<Float>, from low: Double, seed: String) {
    var random = Random(seed: 1, stream: seed)
    let noise = (0..<4093).map { _ in Float(low + (1e-3 - low) * random.uniform()) }
    for i in 0..<tensor.count { tensor.data[i] = noise[i % noise.count] }
}
