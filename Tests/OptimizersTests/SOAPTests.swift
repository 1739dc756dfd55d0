import Optimizers
import TensorCore
import Testing

@Suite struct SOAPTests {
    @Test func theFirstBasisIsByDescendingEigenvalue() throws {
        let gate = Parameter(name: "gate", shape: [6, 9], role: .matrix(.gate))
        var random = Random(seed: 1, stream: "gradient")
        for index in 0..<gate.count { gate.gradient.data[index] = Float(random.normalPair().0) }
        let optimizer = Optimizer(OptimizerConfiguration(SOAP()), parameters: [gate], pool: WorkerPool(threads: 1))
        try optimizer.step(learningRateFactor: 1)
        let state = optimizer.slots[0].state
        let gram = try #require(state.first { $0.name == "gram_left" }).tensor.matrix
        let basis = try #require(state.first { $0.name == "q_left" }).tensor.matrix
        let eigenvalues = (0..<6).map { row in
            (0..<6).reduce(Float(0)) { sum, i in
                (0..<6).reduce(sum) { $0 + basis[row, i] * gram[i, $1] * basis[row, $1] }
            }
        }
        #expect(eigenvalues == eigenvalues.sorted(by: >) && eigenvalues[0] > 2 * eigenvalues[5], "\(eigenvalues)")
    }
}
