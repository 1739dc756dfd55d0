import Configuration
import Optimizers
import TensorCore
import Testing

/// Tests compute as the program does: the float mode and OpenBLAS's threads are set when the process starts.
@Suite struct ProcessModeTests {
    /// SOAP's weights after five steps of one parameter. Its bases are as sensitive as anything to the order of sums.
    static func soap(threads: Int) throws -> [UInt32] {
        let parameter = Parameter(name: "gate", shape: [320, 192], role: .matrix(.gate))
        let node = try ConfigurationNode(yaml: "{name: soap, precondition_frequency: 2}", file: "test.cfg")
        let optimizer = Optimizer(
            try OptimizerConfiguration(node, at: "optimizer"), parameters: [parameter],
            pool: WorkerPool(threads: threads))
        for step in 1...5 {
            var random = Random(seed: UInt64(step), stream: "gradients")
            for index in 0..<parameter.count { parameter.gradient.data[index] = Float(random.normalPair().0) }
            try optimizer.step(learningRateFactor: 1)
        }
        return parameter.weight.elements.map(\.bitPattern)
    }

    /// In a process of its own, where no pool has been made.
    @Test func beforeAnyPool() async {
        await #expect(processExitsWith: .success) {
            #expect(LinearAlgebraLibrary.threadCount == 1)
            let (one, three) = (try ProcessModeTests.soap(threads: 1), try ProcessModeTests.soap(threads: 3))
            #expect(one == three)

            let smallest = [Float](repeating: .leastNormalMagnitude, count: 8)
            let halves = Tensor<Float>(8)
            WorkerPool(threads: 3).forEach(8) { block, _ in halves.data[block] = smallest[block] / 2 }
            #expect(smallest.map { $0 / 2 }.allSatisfy { $0 == 0 }, "denormals are not flushed")
            #expect(halves.elements.allSatisfy { $0 == 0 }, "denormals are not flushed by workers")
        }
    }
}
