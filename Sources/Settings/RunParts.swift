import Console
import LLaMA
import Optimizers
import TensorCore

extension RunConfiguration {
    /// The workers of a run. `sharers`: the processes that make it on these very cores.
    public func makePool(sharers: Int = 1) -> WorkerPool {
        WorkerPool(
            threads: training.threads == 0 ? max(1, availableCoreCount / sharers) : training.threads,
            binding: training.bindThreads && sharers == 1)
    }

    /// The model of a run, its weights zero; for measurements, of fewer `layers` or for another micro-batch.
    package func makeModel(pool: WorkerPool, layers: Int? = nil, microBatchSize: Int? = nil) -> LLaMA {
        var config = model
        config.numHiddenLayers = layers ?? config.numHiddenLayers
        return LLaMA(
            config: config, pool: pool, microBatchSize: microBatchSize ?? training.microBatchSize,
            sequenceLength: data.sequenceLength, precision: training.precision, recompute: training.recompute,
            sharesGradients: training.layerwiseUpdates)
    }

    /// `pieces`: what one rank of several steps.
    package func makeOptimizer(for model: LLaMA, pieces: [Ownership.Piece]? = nil) -> Optimizer {
        Optimizer(
            optimizer, parameters: model.parameters, pieces: pieces, pool: model.pool,
            scratchBudget: training.optimizerScratchMiB << 20)
    }

    /// The model and the optimizer of one rank of a run, without memory.
    package func dryRun(pool: WorkerPool, rank: Int = 0, ranks: Int = 1) -> (model: LLaMA, optimizer: Optimizer) {
        withoutMemory {
            let model = makeModel(pool: pool)
            let ownership = Ownership(optimizer, parameters: model.parameters, ranks: ranks)
            return (model, makeOptimizer(for: model, pieces: ownership.pieces(of: rank)))
        }
    }

    public var optimizerStateBytes: Int {
        dryRun(pool: WorkerPool(threads: 1)).optimizer.stateByteCount
    }

    /// Why this CPU cannot make the run: bfloat16 is asked for, and there are no instructions for it. nil if it can.
    public var unsupportedPrecision: UserError? {
        if BFloat16Library.isSupportedByCPU { return nil }
        let lack = "this CPU has no bfloat16 instructions (AVX-512 BF16 or AMX)"
        if training.precision == .bf16 {
            return UserError(
                .usage, "training.precision: bf16: \(lack)",
                hint: "train with training.precision=fp32, which is faster here, or on another machine")
        }
        if optimizer.hyperparameters.usesBFloat16 {
            return UserError(
                .usage, "optimizer.ns_precision: bf16: \(lack)",
                hint: "set optimizer.ns_precision=fp32, or train on another machine")
        }
        return nil
    }
}
