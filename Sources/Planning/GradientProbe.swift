import Console
import LLaMA
import Machine
import Settings
import TensorCore

/// Measures the forward and backward pass on models of the same widths with few layers.
///
/// A micro-batch goes through a model of one layer and a model of a few, in turns. The difference is what a layer costs:
/// t(L) = t(1) + (L - 1) (t(l) - t(1)) / (l - 1). lm_head and loss are timed by themselves, at their full size. The first
/// pass of each model touches its memory and does not count.
package struct GradientProbe {
    /// Layers of the larger of the two models.
    let layers: Int
    /// Of the measurement; the configuration's may be larger.
    let microBatchSize: Int
    /// Seconds a token of the whole model, round by round. Empty where no round can be believed.
    let rounds: [PassSeconds]
    /// What every step does beside its passes and the optimizer: zeroes, measures and clips the gradients, rounds weights.
    let secondsPerStep: Double

    /// Takes about `seconds`; more where four passes of the smallest batch do. `limit`: FLOPs a second that nothing on
    /// this machine exceeds.
    init(
        _ configuration: RunConfiguration, pool: WorkerPool, machine: MachineMemory?, limit: Double, seconds: Double
    ) throws {
        let length = configuration.data.sequenceLength
        let allLayers = configuration.model.numHiddenLayers
        let most = configuration.training.microBatchSize
        // No fewer than keep every worker busy: a tile has at most 256 tokens.
        let least = min(most, (2 * 256 * pool.workerCount + length - 1) / length)

        func model(layers: Int, microBatchSize: Int) -> LLaMA {
            configuration.makeModel(pool: pool, layers: layers, microBatchSize: microBatchSize)
        }
        func flops(layers: Int) -> Double {
            var config = configuration.model
            config.numHiddenLayers = layers
            return FLOPCount(config, sequenceLength: length).trainingPerToken
        }
        func fits(layers: Int, microBatchSize: Int) -> Bool {
            guard let machine else { return true }
            let models = withoutMemory {
                (
                    model(layers: 1, microBatchSize: microBatchSize),
                    model(layers: layers, microBatchSize: microBatchSize)
                )
            }
            return models.0.memory.total + models.1.memory.total <= machine.available
        }

        guard fits(layers: min(2, allLayers), microBatchSize: least) else {
            throw UserError(
                .usage, "the probe of two layers does not fit the \(Format.bytes(machine?.available ?? 0)) available",
                hint: "plan without it: --no-probe")
        }
        func secondsOfOneLayer() throws -> Double {
            let step = PartialStep(configuration, layers: 1, microBatchSize: least, pool: pool)
            return try repeated(seconds: 0, atLeast: 1) { try step.microBatch() }[0].total / Double(least)
        }
        let single = try secondsOfOneLayer()

        // As many layers, then sequences, as four passes of each model allow.
        func cost(layers: Int) -> Double { 4 * single * (1 + flops(layers: layers) / flops(layers: 1)) }
        var layers = min(allLayers, cost(layers: 4) * Double(least) < seconds ? 4 : 2)
        if !fits(layers: layers, microBatchSize: least) { layers = min(2, allLayers) }
        var microBatchSize = min(most, max(least, Int(seconds / cost(layers: layers))))
        while microBatchSize > least, !fits(layers: layers, microBatchSize: microBatchSize) { microBatchSize -= 1 }
        (self.layers, self.microBatchSize) = (layers, microBatchSize)

        let steps = [1, layers].map {
            PartialStep(configuration, layers: $0, microBatchSize: microBatchSize, pool: pool)
        }
        let extraFlops = (flops(layers: layers) - flops(layers: 1)) * Double(microBatchSize * length)
        rounds = try repeated(seconds: seconds, atLeast: 3) {
            let first = try steps[0].microBatch()
            let last = layers > 1 ? try steps[1].microBatch() : first
            return Self.whole(
                first, last, layers: layers, allLayers: allLayers, extraFlops: extraFlops, limit: limit
            ).map { $0 / Double(microBatchSize * length) }
        }.compactMap(\.self)

        let all = withoutMemory { model(layers: allLayers, microBatchSize: 1).parameterCount }
        secondsPerStep =
            try medianTime(seconds: 0.1 * seconds) { try steps[1].surroundings() } * Double(all)
            / Double(steps[1].model.parameterCount)
    }

    /// The passes of `allLayers` layers, by those of one and of `layers`; nil where the further layers, of `extraFlops`
    /// in all, would then be faster than `limit`: something else has slowed the pass through one.
    package static func whole(
        _ first: PassSeconds, _ last: PassSeconds, layers: Int, allLayers: Int, extraFlops: Double, limit: Double
    ) -> PassSeconds? {
        guard layers > 1 else { return first }
        let extra = last - first
        guard extra.forward + extra.backward > 0, extraFlops <= limit * (extra.forward + extra.backward) else {
            return nil
        }
        let further = Double(allLayers - 1) / Double(layers - 1)
        var whole = first
        whole.forward += further * extra.forward
        whole.backward += further * extra.backward
        return whole
    }
}

/// What `body` gives, again and again for `seconds`, less where it is short, and no fewer than `count` times. All of it
/// is warm: a first call does not count.
package func repeated<Value>(seconds: Double, atLeast count: Int, _ body: () throws -> Value) rethrows -> [Value] {
    _ = try body()
    var values: [Value] = []
    let started = StatusLine.now()
    while true {
        values.append(try body())
        let elapsed = StatusLine.now() - started
        if values.count >= count, elapsed >= seconds || (values.count >= 25 && elapsed >= 0.2 * seconds) {
            return values
        }
    }
}

package func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

package func medianTime(seconds: Double, of body: () throws -> Void) rethrows -> Double {
    try median(
        repeated(seconds: seconds, atLeast: 1) {
            let started = StatusLine.now()
            try body()
            return StatusLine.now() - started
        })
}
