import LLaMA
import Optimizers
import Settings
import TensorCore

/// A step of some layers of the model on random tokens, without the optimizer, to be timed.
struct PartialStep {
    let model: LLaMA
    private let batch: TokenBatch
    private let spend: SpendGradients?

    init(_ configuration: RunConfiguration, layers: Int, microBatchSize: Int? = nil, pool: WorkerPool) {
        let sequences = microBatchSize ?? configuration.training.microBatchSize
        model = configuration.makeModel(pool: pool, layers: layers, microBatchSize: sequences)
        model.initialize(seed: 1)
        var random = Random(seed: 1, stream: "partial step")
        let tokens = (0..<sequences * configuration.data.sequenceLength).map { _ in
            Int32(random.below(configuration.model.vocabSize))
        }
        batch = TokenBatch(tokens: tokens, targets: tokens, sequences: sequences)
        spend = configuration.training.layerwiseUpdates ? { _, _ in } : nil
    }

    /// Forward and backward over one micro-batch. Returns where the time went.
    @discardableResult
    func microBatch() throws -> PassSeconds {
        let before = model.passSeconds
        _ = try model.accumulateGradients(batch, tokenWeight: 1e-6, spend: spend)
        return model.passSeconds - before
    }

    /// What a step does once, the optimizer apart.
    func surroundings() throws {
        model.zeroGradients()
        let norm = try GradientClipping.globalNorm(model.parameters, pool: model.pool)
        GradientClipping.clip(model.parameters, norm: norm + 2, maxNorm: 1, pool: model.pool)
        for parameter in model.parameters { _ = parameter.weight }
        model.roundWeights()
    }
}

extension PassSeconds {
    var total: Double { forward + lmHead + backward }
    /// A forward pass with its loss: lm_head and loss take a third of what they take with their gradients.
    var evaluation: Double { forward + lmHead / 3 }

    static func / (a: PassSeconds, divisor: Double) -> PassSeconds {
        PassSeconds(forward: a.forward / divisor, lmHead: a.lmHead / divisor, backward: a.backward / divisor)
    }
}
