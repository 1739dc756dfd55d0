import Optimizers
import TensorCore
import Testing

@Suite struct COSMOSTests {
    /// The rank holds all rows of the first gradient: what the projection leaves is rounding, which must be neither
    /// orthogonalized nor normalized. Changing the last bits of the gradient changes the update no more.
    @Test(arguments: [16, 24, 40])
    func whatRoundingLeavesOfAResidualIsNoUpdate(_ rank: Int) throws {
        var settings = COSMOS()
        settings.rank = rank
        func weights(changed: Float) throws -> [Float] {
            let key = Parameter(name: "key", shape: [16, 40], role: .matrix(.key(headDim: 8)))
            var random = Random(seed: 1, stream: "gradient")
            for index in 0..<key.count {
                key.gradient.data[index] = Float(random.normalPair().0) * (1 + (index % 2 == 0 ? changed : -changed))
            }
            let optimizer = Optimizer(
                OptimizerConfiguration(settings), parameters: [key], pool: WorkerPool(threads: 1))
            try optimizer.step(learningRateFactor: 1)
            return Array(key.weight.elements)
        }
        let (one, other) = (try weights(changed: 0), try weights(changed: 0x1p-22))
        let difference = zip(one, other).map { abs($0 - $1) }.max() ?? 1
        #expect(difference < 0.01 * (one.map(abs).max() ?? 0), "\(difference)")
    }
}
