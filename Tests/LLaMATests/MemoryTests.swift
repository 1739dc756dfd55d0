import LLaMA
import TensorCore
import TestSupport
import Testing

/// What a model says of its memory, held to the tensors that it really has.
@Suite struct MemoryTests {
    static func config(layers: Int = 3, tied: Bool = false) -> LLaMAConfig {
        var config = LLaMAConfig()
        config.hiddenSize = 24
        config.intermediateSize = 40
        config.numHiddenLayers = layers
        config.numAttentionHeads = 6
        config.numKeyValueHeads = 2
        config.vocabSize = 50
        config.tieWordEmbeddings = tied
        return config
    }

    /// The bytes of all tensors that are reachable from `root`, each once.
    static func tensorBytes(of root: Any) -> Int {
        var visited: Set<ObjectIdentifier> = []
        func visit(_ value: Any) -> Int {
            if type(of: value) is AnyClass {
                guard visited.insert(ObjectIdentifier(value as AnyObject)).inserted else { return 0 }
            }
            let mirror = Mirror(reflecting: value)
            if mirror.displayStyle == .optional { return mirror.children.reduce(0) { $0 + visit($1.value) } }
            switch value {
            case is WorkerPool: return 0
            case let arena as Arena: return arena.byteCount
            // Several owners may share a tensor.
            case let tensor as Tensor<Float>: return tensor.byteCount
            case let tensor as Tensor<BFloat16>: return tensor.byteCount
            default: return Mirror(reflecting: value).children.reduce(0) { $0 + visit($1.value) }
            }
        }
        return visit(root)
    }

    /// oneDNN's part of the memory: it keeps what it makes for each shape of a product.
    @Test(arguments: Precision.allCases.filter { $0 == .fp32 || BFloat16Library.isSupportedByCPU })
    func aLongContextNeedsNoMoreShapes(precision: Precision) async {
        await onThreadOfItsOwn {
            var config = Self.config(layers: 1)
            (config.hiddenSize, config.numAttentionHeads, config.numKeyValueHeads) = (16, 1, 1)
            let counts = [1024, 16384].map { length in
                let model = LLaMA(
                    config: config, pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: length,
                    precision: precision)
                model.initialize(seed: 1)
                let tokens = [Int32](repeating: 1, count: length)
                let loss = try? model.accumulateGradients(
                    TokenBatch(tokens: tokens, targets: tokens, sequences: 1), tokenWeight: 1)
                #expect(loss?.count == length)
                return BFloat16Library.shapeCount
            }
            // Those of the longer context are more rows of a product, for each of a dozen products.
            #expect(counts[0] > 20 || precision == .fp32)
            #expect(counts[1] - counts[0] <= 20, "\(counts)")
        }
    }

    @Test(arguments: Recompute.allCases, [Precision.fp32, .bf16])
    func everyTensorIsCounted(recompute: Recompute, precision: Precision) {
        let tied = recompute == .mlp
        for sharesGradients in [false, true] {
            let model = LLaMA(
                config: Self.config(tied: tied), pool: WorkerPool(threads: testWorkers), microBatchSize: 2,
                sequenceLength: 300, precision: precision, recompute: recompute, sharesGradients: sharesGradients)
            #expect(model.memory.weights == 4 * model.parameterCount)
            // One layer, what is as large as the embedding, and the last norm.
            let layer = 2 * 24 * 24 + 2 * 24 * 8 + 3 * 24 * 40 + 2 * 24
            #expect(
                model.memory.gradients == (sharesGradients ? 4 * (50 * 24 + layer + 24) : 4 * model.parameterCount))
            #expect(model.memory.total == Self.tensorBytes(of: model))
        }
    }

    /// To the bit, and with less memory the more is made anew.
    @Test(arguments: [Precision.fp32, .bf16].filter { $0 == .fp32 || BFloat16Library.isSupportedByCPU })
    func recomputedActivationsAreTheSame(_ precision: Precision) throws {
        var gradients: [[UInt32]] = []
        var sizes: [Int] = []
        for recompute in Recompute.allCases {
            let model = LLaMA(
                config: Self.config(), pool: WorkerPool(threads: testWorkers), microBatchSize: 2, sequenceLength: 300,
                precision: precision, recompute: recompute)
            model.initialize(seed: 1)
            let tokens = (0..<600).map { Int32($0 * 7 % 50) }
            // Twice, so that nothing that the first pass leaves is taken for the second's.
            for offset in [0, 11] {
                let targets = tokens.map { ($0 + Int32(offset)) % 50 }
                _ = try model.accumulateGradients(
                    TokenBatch(tokens: targets, targets: tokens, sequences: 2), tokenWeight: 1e-2)
            }
            gradients.append(model.parameters.flatMap { $0.gradient.elements.map(\.bitPattern) })
            sizes.append(model.memory.activations)
        }
        #expect(gradients[0] == gradients[1] && gradients[0] == gradients[2])
        #expect(sizes[0] > sizes[1] && sizes[1] > sizes[2])
    }

    @Test func aModelWithoutMemoryHasTheSameSizes() {
        let pool = WorkerPool(threads: testWorkers)
        func make() -> LLaMA { LLaMA(config: Self.config(), pool: pool, microBatchSize: 2, sequenceLength: 16) }
        let dry = withoutMemory(make)
        #expect(dry.memory == make().memory)
        #expect(!dry.parameters[0].weight.hasMemory)
        #expect(make().parameters[0].weight.hasMemory, "the mode must end with its closure")
    }

    @Test func aModelLargerThanTheMachineCanBeMeasured() {
        var config = Self.config(layers: 500)
        config.hiddenSize = 24 << 10
        config.intermediateSize = 64 << 10
        let model = withoutMemory {
            LLaMA(config: config, pool: WorkerPool(threads: 1), microBatchSize: 64, sequenceLength: 4096)
        }
        #expect(model.memory.total > 1 << 43)
    }
}
