import LLaMA
import Optimizers
import TensorCore

extension RunConfiguration {
    /// The workers of a run.
    public func makePool() -> WorkerPool { WorkerPool(threads: training.threads, binding: training.bindThreads) }

    /// The model of a run, its weights zero; for measurements, of fewer `layers` or for another micro-batch.
    package func makeModel(pool: WorkerPool, layers: Int? = nil, microBatchSize: Int? = nil) -> LLaMA {
        var config = model
        config.numHiddenLayers = layers ?? config.numHiddenLayers
        return LLaMA(
            config: config, pool: pool, microBatchSize: microBatchSize ?? training.microBatchSize,
            sequenceLength: data.sequenceLength, precision: training.precision, recompute: training.recompute)
    }

    package func makeOptimizer(for model: LLaMA) -> Optimizer {
        Optimizer(
            optimizer, parameters: model.parameters, pool: model.pool,
            scratchBudget: training.optimizerScratchMiB << 20)
    }

    /// The model and the optimizer of a run, without memory.
    package func dryRun(pool: WorkerPool) -> (model: LLaMA, optimizer: Optimizer) {
        withoutMemory {
            let model = makeModel(pool: pool)
            return (model, makeOptimizer(for: model))
        }
    }

    public var optimizerStateBytes: Int {
        dryRun(pool: WorkerPool(threads: 1)).optimizer.slots.reduce(0) { $0 + $1.stateByteCount }
    }
}
