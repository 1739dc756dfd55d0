import Foundation
import TensorCore
import TestSupport
import Testing
import Training

@Suite("Gradient lanes")
struct GradientLaneTests {
    /// A lane alone is a batch of fewer tokens, whose gradient is that many times as large: a power of two.
    @Test("The gradient is the sum of the lanes' as a binary tree, neighbours first")
    func tree() throws {
        let run = try TinyRun()
        let lanes = 8
        let setup = try RunSetup(
            run.configuration(["training={micro_batch_size: 2, batch_size: 16, gradient_lanes: \(lanes)}"]),
            status: run.silentStatus())
        let (data, parameters) = (setup.trainingData, setup.model.parameters)
        func gradients() -> [[Float]] { parameters.map { Array($0.gradient.elements) } }
        var alone = setup.configuration.training
        alone.gradientLanes = 1
        let batch = (0..<16).map { 3 * $0 }
        var losses: [Double] = []
        var sums: [[[Float]]] = try (0..<lanes).map { lane in
            let gradient = BatchGradient(alone, model: setup.model, data: data)
            losses.append(
                try gradient.compute(
                    Array(batch[2 * lane..<2 * lane + 2]), cancellation: CancellationFlag(), progress: { _ in }
                ).sum)
            return gradients().map { $0.map { $0 / Float(lanes) } }
        }
        while sums.count > 1 {
            sums = stride(from: 0, to: sums.count, by: 2).map { index in
                zip(sums[index], sums[index + 1]).map { zip($0, $1).map(+) }
            }
        }
        let gradient = BatchGradient(setup.configuration.training, model: setup.model, data: data)
        // Twice: nothing is left of the step before.
        for _ in 0..<2 {
            var shown: [Int] = []
            let loss = try gradient.compute(batch, cancellation: CancellationFlag()) { shown.append($0) }
            #expect(loss.sum == losses.reduce(0, +) && loss.count == 16 * 16)
            #expect(shown == (1...8).map { 32 * $0 })
            #expect(gradients() == sums[0])
        }
    }

    @Test("With lanes, too, threads and resuming change no bit; lanes change the order of sums alone")
    func bits() throws {
        let run = try TinyRun()
        try run.train("one")
        try run.train("four", "training={gradient_lanes: 4, micro_batch_size: 1}")
        try run.train("resumed", "training={gradient_lanes: 4, micro_batch_size: 1, threads: 3}")
        try run.expectEqual("four", "resumed")
        for name in ["step-00000012", "step-00000010"] {
            try FileManager.default.removeItem(atPath: run.folder.file("resumed/checkpoints/\(name)"))
        }
        try run.train("resumed", "training={gradient_lanes: 4, micro_batch_size: 1}", purpose: .resume)
        try run.expectEqual("four", "resumed")
        for (a, b) in zip(try run.log("one"), try run.log("four")) {
            let (x, y) = (try #require(Double(a[2])), try #require(Double(b[2])))
            #expect(abs(x - y) < 2e-5 * x, "step \(a[0]): \(x) and \(y)")
        }
        #expect(try run.tensors("one") != run.tensors("four"))
    }
}
