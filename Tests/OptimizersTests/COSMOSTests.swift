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

    private func weights(_ settings: COSMOS, gradient scale: Float = 1) throws -> [Float] {
        let gate = Parameter(name: "gate", shape: [24, 16], role: .matrix(.gate))
        let optimizer = Optimizer(OptimizerConfiguration(settings), parameters: [gate], pool: WorkerPool(threads: 1))
        var random = Random(seed: 2, stream: "gradient")
        for _ in 0..<3 {
            for index in 0..<gate.count { gate.gradient.data[index] = scale * Float(random.normalPair().0) }
            try optimizer.step(learningRateFactor: 1)
        }
        return Array(gate.weight.elements)
    }

    @Test func automaticGammaIsTheRatioOfTheLearningRates() throws {
        var settings = COSMOS()
        (settings.rank, settings.lr) = (4, 0.01)
        settings.adam = AdamSettings(lr: 0.04, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0)
        let automatic = try weights(settings)
        settings.gamma = .number(0.25)
        #expect(try weights(settings) == automatic)
        settings.gamma = .number(0.01)
        #expect(try weights(settings) != automatic)
    }

    /// The update is normalized with eps: it vanishes with the gradient.
    @Test func aVanishingGradientMakesAVanishingStep() throws {
        var settings = COSMOS()
        settings.rank = 4
        let (whole, vanishing) = (try weights(settings), try weights(settings, gradient: 1e-34))
        #expect(vanishing.map(abs).max() ?? 1 < 0.01 * (whole.map(abs).max() ?? 0))
    }
}
