import Foundation
import LLaMA
import TensorCore
import TestSupport
import Testing

/// The model against the naive Double reference, on odd shapes: lengths and widths that fill no
/// block and no vector, more tokens than one block holds.
@Suite struct ReferenceTests {
    struct Shape: CustomTestStringConvertible, Sendable {
        var config = LLaMAConfig()
        let sequences: Int
        let length: Int
        let testDescription: String

        init(
            _ description: String, hidden: Int, intermediate: Int, layers: Int, heads: Int, keyValueHeads: Int,
            vocabulary: Int, tied: Bool = false, sequences: Int, length: Int
        ) {
            testDescription = description
            self.sequences = sequences
            self.length = length
            config.hiddenSize = hidden
            config.intermediateSize = intermediate
            config.numHiddenLayers = layers
            config.numAttentionHeads = heads
            config.numKeyValueHeads = keyValueHeads
            config.vocabSize = vocabulary
            config.tieWordEmbeddings = tied
            config.initializerRange = 0.2  // large enough that every nonlinearity is felt
        }
    }

    static let shapes = [
        Shape(
            "odd intermediate size", hidden: 12, intermediate: 31, layers: 2, heads: 2, keyValueHeads: 2,
            vocabulary: 37, sequences: 3, length: 9),
        Shape(
            "tied head, three layers", hidden: 16, intermediate: 20, layers: 3, heads: 4, keyValueHeads: 4,
            vocabulary: 23, tied: true, sequences: 2, length: 7),
        Shape(
            "grouped heads, several query blocks", hidden: 24, intermediate: 17, layers: 1, heads: 6,
            keyValueHeads: 2, vocabulary: 19, sequences: 2, length: 150),
        Shape(
            "one head, one token", hidden: 18, intermediate: 5, layers: 1, heads: 1, keyValueHeads: 1,
            vocabulary: 3, sequences: 1, length: 1),
        Shape(
            "every product in several tiles", hidden: 16, intermediate: 1100, layers: 2, heads: 2, keyValueHeads: 1,
            vocabulary: 4500, sequences: 2, length: 140),
        Shape(
            "three parts of a head, the last of them short", hidden: 8, intermediate: 3, layers: 1, heads: 4,
            keyValueHeads: 2, vocabulary: 5, sequences: 1, length: 1100),
        Shape(
            "more columns than one block of the embedding's gradient", hidden: 72, intermediate: 9, layers: 1, heads: 2,
            keyValueHeads: 1, vocabulary: 11, sequences: 1, length: 6),
    ]

    static func model(_ shape: Shape, threads: Int = 2, precision: Precision = .fp32) -> LLaMA {
        let model = LLaMA(
            config: shape.config, pool: WorkerPool(threads: threads), microBatchSize: shape.sequences,
            sequenceLength: shape.length, precision: precision)
        model.initialize(seed: 3)
        var random = Random(seed: 5, stream: "gains")
        for parameter in model.parameters where parameter.role == .vector {
            for i in 0..<parameter.count { parameter.weight.data[i] = Float(0.5 + random.uniform()) }
        }
        return model
    }

    /// Tokens and targets, every fifth target ignored.
    static func batch(_ shape: Shape) -> (tokens: [Int32], targets: [Int32]) {
        var random = Random(seed: 7, stream: "batch")
        let count = shape.sequences * shape.length
        let tokens = (0..<count).map { _ in Int32(random.below(shape.config.vocabSize)) }
        let targets = (0..<count).map { $0 % 5 == 4 ? -100 : Int32(random.below(shape.config.vocabSize)) }
        return (tokens, targets)
    }

    @Test(arguments: shapes) func logitsAndLoss(_ shape: Shape) throws {
        let model = Self.model(shape)
        let (tokens, targets) = Self.batch(shape)
        let reference = ReferenceLLaMA(model)
        let logits = try model.logits(tokens: tokens, sequences: shape.sequences)
        var expected: [[Double]] = []
        for sequence in 0..<shape.sequences {
            expected += reference.logits(Array(tokens[sequence * shape.length..<(sequence + 1) * shape.length]))
        }
        let largest = expected.joined().map(abs).max()!
        for (row, values) in expected.enumerated() {
            for (column, value) in values.enumerated() {
                #expect(abs(Double(logits.matrix[row, column]) - value) < 5e-6 * largest)
            }
        }
        let loss = try model.evaluateLoss(TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences))
        let exact = reference.loss(tokens: tokens, targets: targets, sequences: shape.sequences)
        #expect(abs(loss.sum - exact) < 1e-6 * Double(loss.count) * max(1, exact / Double(loss.count)))
        #expect(loss.count == targets.count(where: { $0 >= 0 }))
    }

    /// Every parameter's gradient, along a random direction and at single entries, against central
    /// differences of the reference.
    @Test(arguments: shapes) func gradients(_ shape: Shape) throws {
        let model = Self.model(shape)
        let (tokens, targets) = Self.batch(shape)
        var reference = ReferenceLLaMA(model)
        model.zeroGradients()
        let scale: Float = 0.25
        let trained = try model.accumulateGradients(
            TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences), tokenWeight: scale)
        let evaluated = try model.evaluateLoss(TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences))
        #expect(trained.sum == evaluated.sum)

        var random = Random(seed: 11, stream: "directions")
        // The reference is slow: the larger the batch, the fewer directions.
        let entries = shape.length > 100 ? 1 : 4
        for parameter in model.parameters {
            let original = reference.weights[parameter.name]!
            let gradient = parameter.gradient.elements.map(Double.init)
            let norm = sqrt(gradient.reduce(0) { $0 + $1 * $1 })
            var directions = [(0..<parameter.count).map { _ in random.normalPair().0 }]
            for _ in 0..<entries {
                let entry = random.below(parameter.count)
                directions.append((0..<parameter.count).map { $0 == entry ? 1 : 0 })
            }
            for direction in directions {
                let length = sqrt(direction.reduce(0) { $0 + $1 * $1 })
                let h = 1e-5 / length
                func loss(_ sign: Double) -> Double {
                    reference.weights[parameter.name] = zip(original, direction).map { $0 + sign * h * $1 }
                    return reference.loss(tokens: tokens, targets: targets, sequences: shape.sequences)
                }
                let numerical = Double(scale) * (loss(1) - loss(-1)) / (2 * h)
                let analytic = zip(gradient, direction).reduce(0) { $0 + $1.0 * $1.1 }
                #expect(
                    abs(numerical - analytic) <= 2e-5 * norm * length + 1e-7 * length,
                    "\(parameter.name): \(analytic), by differences \(numerical)")
            }
            reference.weights[parameter.name] = original
        }
    }

    /// Gradients add up over micro-batches, and a sequence's do not depend on its neighbours.
    @Test func accumulation() throws {
        let shape = Self.shapes[0]
        let model = Self.model(shape)
        let (tokens, targets) = Self.batch(shape)
        func gradients(_ parts: [Range<Int>]) throws -> [[Float]] {
            model.zeroGradients()
            for part in parts {
                let range = part.lowerBound * shape.length..<part.upperBound * shape.length
                _ = try model.accumulateGradients(
                    TokenBatch(tokens: Array(tokens[range]), targets: Array(targets[range]), sequences: part.count),
                    tokenWeight: 1)
            }
            return model.parameters.map { Array($0.gradient.elements) }
        }
        let whole = try gradients([0..<3])
        let parts = try gradients([0..<2, 2..<3])
        for ((a, b), parameter) in zip(zip(whole, parts), model.parameters) {
            let norm = sqrt(a.reduce(0) { $0 + $1 * $1 })
            let difference = sqrt(zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) })
            #expect(difference <= 2e-6 * norm, "\(parameter.name)")
        }
    }

    /// The same bits for any number of workers, run after run.
    @Test(arguments: [shapes[0], shapes[2], shapes[4], shapes[5]]) func determinism(_ shape: Shape) throws {
        let (tokens, targets) = Self.batch(shape)
        let results = try [1, 3, 16, 3].map { threads in
            let model = Self.model(shape, threads: threads)
            let loss = try model.accumulateGradients(
                TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences), tokenWeight: 1)
            return (loss.sum, model.parameters.map { $0.gradient.elements.map(\.bitPattern) })
        }
        for result in results { #expect(result == results[0]) }
    }

    @Test func cancellation() throws {
        let shape = Self.shapes[0]
        let model = Self.model(shape)
        let (tokens, targets) = Self.batch(shape)
        let flag = CancellationFlag()
        flag.request()
        #expect(throws: CancellationError.self) {
            try model.accumulateGradients(
                TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences), tokenWeight: 1,
                cancellation: flag)
        }
        #expect(throws: CancellationError.self) {
            try model.evaluateLoss(
                TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences), cancellation: flag)
        }
    }

    /// Whatever a cancelled pass has left, the next one adds its own gradients alone.
    @Test func aPassAfterACancelledOne() throws {
        let shape = Shape(
            "much to recompute", hidden: 16, intermediate: 1100, layers: 6, heads: 2, keyValueHeads: 1, vocabulary: 19,
            sequences: 2, length: 140)
        let model = LLaMA(
            config: shape.config, pool: WorkerPool(threads: testWorkers), microBatchSize: shape.sequences,
            sequenceLength: shape.length, recompute: .mlp)
        model.initialize(seed: 3)
        let (tokens, targets) = Self.batch(shape)
        func gradients(_ flag: CancellationFlag) throws -> [[UInt32]] {
            model.zeroGradients()
            _ = try model.accumulateGradients(
                TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences), tokenWeight: 1,
                cancellation: flag)
            return model.parameters.map { $0.gradient.elements.map(\.bitPattern) }
        }
        let counter = CountingFlag()
        let whole = try gradients(counter)
        for part in 1...24 {
            #expect(throws: CancellationError.self) {
                try gradients(CountingFlag(limit: part * counter.looks / 24))
            }
            #expect(try gradients(CancellationFlag()) == whole)
        }
    }
}
