import Console
import LLaMA
import Machine
import TensorCore

extension ModelFolder {
    /// The model with its weights, to compute losses, logits or text with it.
    ///
    /// Throws before anything is allocated where the memory of this machine could never hold it.
    public func loadModel(pool: WorkerPool, microBatchSize: Int, sequenceLength: Int) throws -> LLaMA {
        func make() -> LLaMA {
            LLaMA(config: config, pool: pool, microBatchSize: microBatchSize, sequenceLength: sequenceLength)
        }
        let memory = withoutMemory(make).forwardMemory
        let required = memory.total
        if let machine = MachineMemory.current, required > machine.limit {
            throw UserError(
                .usage,
                "the model of \(path) takes \(Format.bytes(required)), \(machine.owner) is "
                    + "\(Format.bytes(machine.limit)): weights \(Format.bytes(memory.weights)), "
                    + "the rest for \(microBatchSize) sequences of \(sequenceLength) tokens",
                hint: memory.weights > required / 2
                    ? "use a machine with more memory, or a smaller model"
                    : "compute fewer or shorter sequences at once")
        }
        let model = make()
        try loadWeights(into: model)
        return model
    }
}
