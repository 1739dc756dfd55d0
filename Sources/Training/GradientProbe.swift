import Configuration
import LLaMA
import TensorCore

/// Measures the forward and backward pass on a model of the same widths with few layers.
///
/// The time of a micro-batch is taken with one layer and with a few; the difference is what a layer
/// costs, and t(L) = t(1) + (L - 1) (t(l) - t(1)) / (l - 1) what the whole model will. Embedding, head
/// and loss are in t(1) at their full size.
struct GradientProbe {
    /// Layers of the larger of the two models.
    let layers: Int
    /// Sequences of the micro-batch that was measured.
    let sequences: Int
    /// Of the whole model, forward and backward.
    let secondsPerToken: Double
    /// What the cores reached, FLOPs a second.
    let flopsPerSecond: Double

    /// Takes about `seconds`; more where the smallest batch through two layers does.
    init(_ configuration: RunConfiguration, pool: WorkerPool, seconds: Double) throws {
        let length = configuration.data.sequenceLength
        let allLayers = configuration.model.numHiddenLayers

        func model(layers: Int, sequences: Int) -> LLaMA {
            var config = configuration.model
            config.numHiddenLayers = layers
            let model = LLaMA(
                config: config, pool: pool, maxSequences: sequences, sequenceLength: length,
                precision: configuration.training.precision, recompute: configuration.training.recompute)
            model.initialize(seed: 1)
            return model
        }
        /// The time of a micro-batch.
        func time(_ model: LLaMA, sequences: Int, seconds: Double) throws -> Double {
            var random = Random(seed: 1, stream: "probe")
            let tokens = (0..<sequences * length).map { _ in Int32(random.below(configuration.model.vocabSize)) }
            return try medianTime(seconds: seconds) {
                _ = try model.accumulateGradients(
                    tokens: tokens, targets: tokens, sequences: sequences, lossScale: 1e-6)
            }
        }

        // No fewer than keep every worker busy: a block of work has 256 tokens.
        let most = configuration.training.microBatchSize
        let least = min(most, (2 * 256 * pool.workerCount + length - 1) / length)
        let single =
            try time(model(layers: 1, sequences: least), sequences: least, seconds: 0.1 * seconds) / Double(least)
        // The larger model costs up to `layers` times as much, and each runs at least twice.
        let layers = min(allLayers, 8 * single * Double(least) < seconds ? 4 : 2)
        let sequences = min(most, max(least, Int(0.4 * seconds / Double(1 + layers) / single)))
        let first = try time(model(layers: 1, sequences: sequences), sequences: sequences, seconds: 0.25 * seconds)
        var whole = first
        if layers > 1 {
            let last = try time(
                model(layers: layers, sequences: sequences), sequences: sequences, seconds: 0.65 * seconds)
            whole += max(0, last - first) * Double(allLayers - 1) / Double(layers - 1)
        }
        self.layers = layers
        self.sequences = sequences
        secondsPerToken = whole / Double(sequences * length)
        flopsPerSecond = FLOPCount(configuration.model, sequenceLength: length).trainingPerToken / secondsPerToken
    }
}

/// The median time of `body` over `seconds`. The first call touches memory, so it counts only where it is
/// long beside them: then it is the only one.
func medianTime(seconds: Double, of body: () throws -> Void) rethrows -> Double {
    func time() throws -> Double {
        let start = StatusLine.now()
        try body()
        return StatusLine.now() - start
    }
    let started = StatusLine.now()
    let first = try time()
    if first > 0.5 * seconds { return first }
    var times: [Double] = []
    repeat { times.append(try time()) } while StatusLine.now() - started < seconds
    return times.sorted()[times.count / 2]
}
