import Foundation
import LLaMA
import TensorCore
import Testing

/// Head and loss as large vocabularies take them, against the naive Double reference: many blocks of the vocabulary,
/// several chunks of tokens, and remainders of both.
@Suite struct HeadTests {
    /// 40 blocks of 1,024 rows, the last of 65; chunks of 384 tokens, the last of 200.
    static let shape = ReferenceTests.Shape(
        "large vocabulary", hidden: 6, intermediate: 5, layers: 1, heads: 1, keyValueHeads: 1, vocabulary: 40_001,
        sequences: 2, length: 292)

    @Test(arguments: Precision.allCases.filter { $0 == .fp32 || BFloat16Library.isSupportedByCPU })
    func lossAndGradients(_ precision: Precision) throws {
        let shape = Self.shape
        let model = ReferenceTests.model(shape, threads: 3, precision: precision)
        let head = try #require(model.parameters.last { $0.role == .lmHead })
        let gain = try #require(model.parameters.last { $0.name == "model.norm.weight" })
        // Wide enough that the softmax is far from uniform.
        for index in 0..<head.count { head.weight.data[index] *= 5 }
        let (tokens, targets) = ReferenceTests.batch(shape)
        let scale = 1 / 64.0
        let loss = try model.accumulateGradients(
            TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences), tokenWeight: Float(scale))

        let (vocabulary, hidden) = (shape.config.vocabSize, shape.config.hiddenSize)
        let reference = ReferenceLLaMA(model)
        let weight = reference.weights[reference.headName]!
        var (sum, dweight, dgain) = (
            0.0, [Double](repeating: 0, count: weight.count), [Double](repeating: 0, count: hidden)
        )
        for (sequence, first) in stride(from: 0, to: tokens.count, by: shape.length).enumerated() {
            let rows = reference.hidden(Array(tokens[first..<first + shape.length]))
            for (position, h) in rows.enumerated() where targets[first + position] >= 0 {
                let target = Int(targets[sequence * shape.length + position])
                var z = [Double](repeating: 0, count: vocabulary)
                for j in 0..<vocabulary { for i in 0..<hidden { z[j] += weight[j * hidden + i] * h[i] } }
                let largest = z.max()!
                let exponentials = z.map { exp($0 - largest) }
                let total = exponentials.reduce(0, +)
                sum += log(total) + largest - z[target]
                var dh = [Double](repeating: 0, count: hidden)
                for j in 0..<vocabulary {
                    let dz = scale * (exponentials[j] / total - (j == target ? 1 : 0))
                    for i in 0..<hidden {
                        dweight[j * hidden + i] += dz * h[i]
                        dh[i] += dz * weight[j * hidden + i]
                    }
                }
                for i in 0..<hidden { dgain[i] += dh[i] * h[i] / Double(gain.weight.data[i]) }
            }
        }

        #expect(abs(loss.sum / sum - 1) < (precision == .fp32 ? 1e-6 : 1e-3), "\(loss.sum), exactly \(sum)")
        #expect(loss.count == targets.count { $0 >= 0 })
        func relativeError(_ gradient: Parameter, _ exact: [Double], _ range: Range<Int>) -> Double {
            var (difference, norm) = (0.0, 0.0)
            for index in range {
                difference += pow(Double(gradient.gradient.data[index]) - exact[index], 2)
                norm += pow(exact[index], 2)
            }
            return (difference / norm).squareRoot()
        }
        let tolerance = precision == .fp32 ? 2e-6 : 2e-2
        for block in stride(from: 0, to: vocabulary, by: 1024) {
            let elements = block * hidden..<min(block + 1024, vocabulary) * hidden
            let error = relativeError(head, dweight, elements)
            #expect(error < tolerance, "rows from \(block) on are off by \(error)")
        }
        #expect(relativeError(gain, dgain, 0..<hidden) < tolerance, "\(relativeError(gain, dgain, 0..<hidden))")
        let evaluated = try model.evaluateLoss(TokenBatch(tokens: tokens, targets: targets, sequences: shape.sequences))
        #expect(evaluated.sum == loss.sum)
    }

    /// Wherever in the vocabulary it lies: exponentials of the others must neither overflow nor count.
    @Test(arguments: [3, 1024, 2099])
    func aLogitFarAboveTheOthers(_ token: Int) throws {
        let shape = ReferenceTests.Shape(
            "three blocks of the vocabulary", hidden: 6, intermediate: 5, layers: 1, heads: 1, keyValueHeads: 1,
            vocabulary: 2100, sequences: 1, length: 8)
        let model = ReferenceTests.model(shape)
        let head = try #require(model.parameters.last { $0.role == .lmHead })
        for column in 0..<6 { head.weight.matrix[token, column] *= 5000 }
        let (tokens, targets) = ReferenceTests.batch(shape)
        let loss = try model.accumulateGradients(
            TokenBatch(tokens: tokens, targets: targets, sequences: 1), tokenWeight: 1)
        let exact = ReferenceLLaMA(model).loss(tokens: tokens, targets: targets, sequences: 1)
        #expect(exact > 300)
        #expect(abs(loss.sum / exact - 1) < 1e-5, "\(loss.sum), exactly \(exact)")
        #expect(model.parameters.allSatisfy { $0.gradient.matrix.isFinite })
    }
}
