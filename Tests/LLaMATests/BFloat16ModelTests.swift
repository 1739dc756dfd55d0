import Foundation
import LLaMA
import TensorCore
import TestSupport
import Testing

/// Training with bfloat16 operands against float32.
@Suite(.enabled(if: BFloat16Library.isSupportedByCPU, "this CPU has no bfloat16 instructions"))
struct BFloat16ModelTests {
    struct Result {
        let loss: TokenLoss
        let gradients: [[Float]]

        init(_ model: LLaMA, tokens: [Int32], targets: [Int32], sequences: Int) throws {
            model.zeroGradients()
            let count = targets.count { $0 >= 0 }
            loss = try model.accumulateGradients(
                TokenBatch(tokens: tokens, targets: targets, sequences: sequences), tokenWeight: 1 / Float(count))
            gradients = model.parameters.map { Array($0.gradient.elements) }
        }
    }

    static func relativeError(_ a: [Float], _ b: [Float]) -> Double {
        let difference = zip(a, b).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
        let norm = b.reduce(0.0) { $0 + pow(Double($1), 2) }
        return sqrt(difference / norm)
    }

    /// Loss within 1e-2, gradients within 3e-2 of float32's on the golden models.
    @Test(arguments: try GoldenTests.cases()) func golden(_ golden: GoldenCase) throws {
        let batch = try GoldenTests.batch(golden)
        let results = try Precision.allCases.map {
            try Result(
                GoldenTests.model(golden, precision: $0), tokens: batch.tokens, targets: batch.targets,
                sequences: batch.sequences)
        }
        #expect(results.count == 2)
        #expect(abs(results[0].loss.mean - results[1].loss.mean) < 1e-2)
        #expect(results[0].loss.sum != results[1].loss.sum, "nothing was rounded")
        for (a, b) in zip(results[1].gradients, results[0].gradients) { #expect(Self.relativeError(a, b) < 3e-2) }
    }

    /// The same bits for any number of workers, run after run; shapes that fill no block.
    @Test(arguments: [0, 2, 4, 5].map { ReferenceTests.shapes[$0] }) func determinism(
        _ shape: ReferenceTests.Shape
    ) throws {
        let (tokens, targets) = ReferenceTests.batch(shape)
        let results = try [1, 3, 16, 3].map { threads in
            let result = try Result(
                ReferenceTests.model(shape, threads: threads, precision: .bf16), tokens: tokens, targets: targets,
                sequences: shape.sequences)
            return (result.loss.sum, result.gradients.map { $0.map(\.bitPattern) })
        }
        for result in results { #expect(result == results[0]) }
    }

    /// What the passes read follows the weights, whoever changes them.
    @Test func operandsFollowTheWeights() throws {
        let shape = ReferenceTests.shapes[0]
        let model = ReferenceTests.model(shape, precision: .bf16)
        let (tokens, targets) = ReferenceTests.batch(shape)
        func loss() throws -> Double {
            try model.evaluateLoss(TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences)).sum
        }
        let before = try loss()
        #expect(try loss() == before)
        for parameter in model.parameters where parameter.role.isMatrix {
            for i in 0..<parameter.count { parameter.weight.data[i] *= 2 }
        }
        // Through tensors that are kept over a pass, too.
        let kept = model.parameters.filter(\.role.isMatrix).map(\.weight)
        #expect(try loss() != before)
        for weight in kept {
            for i in 0..<weight.count { weight.data[i] /= 2 }
        }
        #expect(try loss() == before)
    }
}
