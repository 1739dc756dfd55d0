import Optimizers
import TensorCore
import Testing

/// Tests compute as the program does: the float mode and OpenBLAS's threads are set when the process starts.
@Suite struct ProcessModeTests {
    /// SOAP's weights after five steps of one parameter, without a pool. Its bases are as sensitive as anything to the
    /// order of sums.
    static func soap() throws -> [UInt32] {
        let parameter = Parameter(name: "gate", shape: [320, 192], role: .matrix(.gate))
        var hyperparameters = SOAP.Hyperparameters()
        hyperparameters.preconditionFrequency = 2
        let rule = OptimizerConfiguration(SOAP.self, hyperparameters).makeRule(for: parameter)
        let arena = Arena(byteCount: rule.scratchByteCount)
        for step in 1...5 {
            var random = Random(seed: UInt64(step), stream: "gradients")
            for index in 0..<parameter.count { parameter.gradient.data[index] = Float(random.normalPair().0) }
            arena.reset()
            try rule.step(StepContext(step: step, learningRate: 0.01, arena: arena))
        }
        return parameter.weight.elements.map(\.bitPattern)
    }

    /// In a process of its own, where no pool has been made.
    @Test func beforeAnyPool() async {
        await #expect(processExitsWith: .success) {
            #expect(LinearAlgebraLibrary.threadCount == 1)
            let before = try ProcessModeTests.soap()
            let pool = WorkerPool(threads: 3)
            #expect(try ProcessModeTests.soap() == before)

            let smallest = [Float](repeating: .leastNormalMagnitude, count: 8)
            let halves = Tensor<Float>(8)
            pool.forEach(8) { block, _ in halves.data[block] = smallest[block] / 2 }
            #expect(smallest.map { $0 / 2 }.allSatisfy { $0 == 0 }, "denormals are not flushed")
            #expect(halves.elements.allSatisfy { $0 == 0 }, "denormals are not flushed by workers")
        }
    }
}
