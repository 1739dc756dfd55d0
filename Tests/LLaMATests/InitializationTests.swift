import Foundation
import LLaMA
import TensorCore
import TestSupport
import Testing

@Suite struct InitializationTests {
    /// The moments of N(0, initializer_range), and no link between neighbours or parameters.
    @Test(arguments: [0.02, 0.5]) func weightsAreNormal(range: Double) {
        var config = ReferenceTests.shapes[0].config
        (config.hiddenSize, config.intermediateSize, config.vocabSize) = (64, 99, 1101)
        config.initializerRange = range
        let model = LLaMA(config: config, pool: WorkerPool(threads: testWorkers), microBatchSize: 1, sequenceLength: 1)
        model.initialize(seed: 1)
        for parameter in model.parameters {
            let values = parameter.weight.elements.map { Double($0) / range }
            if parameter.role == .vector {
                #expect(parameter.weight.elements.allSatisfy { $0 == 1 })
                continue
            }
            // Four standard errors of each estimate.
            func expect(_ estimate: Double, _ value: Double, deviation: Double, of count: Int, _ what: String) {
                let error = 4 * deviation / Double(count).squareRoot()
                #expect(abs(estimate - value) < error, "\(parameter.name): \(what) \(estimate), not \(value)")
            }
            for first in 0...1 {
                let half = stride(from: first, to: values.count, by: 2).map { values[$0] }
                func mean(_ power: Int) -> Double {
                    half.reduce(0) { $0 + pow($1, Double(power)) } / Double(half.count)
                }
                expect(mean(1), 0, deviation: 1, of: half.count, "mean")
                expect(mean(2), 1, deviation: 2.0.squareRoot(), of: half.count, "variance")
            }
            let products = zip(values, values.dropFirst()).map { $0 * $1 }
            expect(
                products.reduce(0, +) / Double(products.count), 0, deviation: 1, of: products.count,
                "product of neighbours")
        }
        // Long ones are shared out, but each has one stream.
        let embedding = model.parameters[0]
        var random = Random(seed: 1, stream: embedding.name)
        let isOneStream = stride(from: 0, to: embedding.count, by: 2).allSatisfy { index in
            let (a, b) = random.normalPair()
            let pair = (embedding.weight.elements[index], embedding.weight.elements[index + 1])
            return pair == (Float(a * range), Float(b * range))
        }
        #expect(isOneStream)
        let first = model.parameters.filter { $0.role != .vector }.map { $0.weight.elements[0] }
        #expect(Set(first).count == first.count)
        model.initialize(seed: 2)
        #expect(model.parameters.first { $0.role != .vector }?.weight.elements[0] != first[0])
    }
}
