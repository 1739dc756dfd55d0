import Optimizers
import TensorCore
import TestSupport
import Testing

/// What Muon's references do not offer, made from what they recorded.
@Suite struct MuonTests {
    /// Keller Jordan's steps, each divided by its root mean square. Decay is 0 there, so that a step is the update, and
    /// the gradients are given, so that its size changes nothing in what follows.
    @Test func unitRMSDividesTheReferencesUpdates() throws {
        let golden = try #require(try GoldenCase.all { $0 == "muon_kj.wd0.ns_float32.f32" }.first)
        let matrices = golden.fields.params.keys.filter { golden.fields.params[$0].ints?.count == 2 }
        #expect(matrices.count > 2)
        let hyper = GoldenSettings(hyper: golden.fields.hyper)
        let rates = try #require(golden.fields.lr.doubles)
        for name in matrices {
            let start = try golden.required("\(name)/param@0")
            var settings = Muon()
            (settings.lr, settings.weightDecay, settings.scale) = (0.5, 0, .unitRMS)
            settings.momentum = try hyper.double("momentum")
            settings.nesterov = try hyper.bool("nesterov")
            settings.orthogonalization.nsPrecision = .fp32
            let parameter = Parameter(name: name, shape: start.shape, role: .matrix(.gate))
            for (index, value) in start.floats.enumerated() { parameter.weight.data[index] = value }
            let optimizer = Optimizer(
                OptimizerConfiguration(settings), parameters: [parameter], pool: WorkerPool(threads: testWorkers))

            var (expected, before) = (start.doubles, start.doubles)
            for step in 1...rates.count {
                let gradient = try golden.required("\(name)/grad@\(step)").floats
                for index in gradient.indices { parameter.gradient.data[index] = gradient[index] }
                try optimizer.step(learningRateFactor: rates[step - 1])
                let after = try golden.required("\(name)/param@\(step)").doubles
                let update = zip(before, after).map { $0 - $1 }
                let rms = (update.reduce(0) { $0 + $1 * $1 } / Double(update.count)).squareRoot()
                for index in expected.indices { expected[index] -= 0.5 * rates[step - 1] * update[index] / rms }
                before = after
            }
            let change = zip(expected, start.doubles).map { abs($0 - $1) }.max() ?? 0
            let difference = expected.indices.map { abs(Double(parameter.weight.data[$0]) - expected[$0]) }.max() ?? 1
            #expect(difference <= GoldenTolerance.factorized * change, "\(name) is off by \(difference / change)")
        }
    }
}
