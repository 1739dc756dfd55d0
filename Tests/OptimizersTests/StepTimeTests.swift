import Configuration
import Foundation
import Optimizers
import TensorCore
import Testing

/// The time of a step on the shapes of LLaMA 130M, for `docs/results`. Takes minutes and gigabytes, so
/// it runs only where `COSMOS_STEP_TIMES` names the optimizers ("all", or "adamw cosmos").
@Suite struct StepTimeTests {
    private static let chosen =
        ProcessInfo.processInfo.environment["COSMOS_STEP_TIMES"]?.split(separator: " ").map(String.init) ?? []

    static func parameters(hidden: Int, intermediate: Int, layers: Int, vocabulary: Int, headDim: Int) -> [Parameter] {
        var parameters = [Parameter(name: "embedding", shape: [vocabulary, hidden], role: .embedding)]
        for layer in 0..<layers {
            let matrices: [(String, [Int], ParameterRole.Projection)] = [
                ("q", [hidden, hidden], .query(headDim: headDim)), ("k", [hidden, hidden], .key(headDim: headDim)),
                ("v", [hidden, hidden], .value), ("o", [hidden, hidden], .attentionOutput),
                ("gate", [intermediate, hidden], .gate), ("up", [intermediate, hidden], .up),
                ("down", [hidden, intermediate], .down),
            ]
            parameters += matrices.map { Parameter(name: "\(layer).\($0)", shape: $1, role: .matrix($2)) }
            parameters += ["norm1", "norm2"].map { Parameter(name: "\(layer).\($0)", shape: [hidden], role: .vector) }
        }
        return parameters + [
            Parameter(name: "norm", shape: [hidden], role: .vector),
            Parameter(name: "head", shape: [vocabulary, hidden], role: .head),
        ]
    }

    @Test(.enabled(if: !chosen.isEmpty))
    func llama130M() throws {
        let threads = ProcessInfo.processInfo.environment["COSMOS_THREADS"].flatMap { Int($0) } ?? 0
        let pool = WorkerPool(threads: threads)
        flushDenormalsToZero()
        let parameters = Self.parameters(hidden: 768, intermediate: 2048, layers: 12, vocabulary: 32000, headDim: 64)
        var random = Random(seed: 1, stream: "weights")
        let cycle = (0..<65_537).map { _ in Float(random.normalPair().0) }
        for parameter in parameters {
            for index in 0..<parameter.count { parameter.weight.data[index] = 0.02 * cycle[index % cycle.count] }
        }
        func report(_ line: String) { FileHandle.standardError.write(Data("step time: \(line)\n".utf8)) }
        report("LLaMA 130M, \(pool.workerCount) threads, OpenBLAS for \(LinearAlgebraLibrary.coreName)")
        for rule in optimizerRules where Self.chosen.contains("all") || Self.chosen.contains(rule.name) {
            let configuration = try OptimizerConfiguration(
                ConfigurationNode(yaml: "{name: \(rule.name)}", file: "test.cfg"), at: "optimizer")
            let optimizer = Optimizer(configuration, parameters: parameters, pool: pool)
            var seconds: [Double] = []
            // The first bases are made in step 1; SOAP's next in step 11.
            for step in 1...11 {
                for parameter in parameters {
                    for index in 0..<parameter.count {
                        parameter.gradient.data[index] = 1e-3 * cycle[(index &* 31 &+ step &* 7919) % cycle.count]
                    }
                }
                let start = ContinuousClock.now
                try optimizer.step(learningRateFactor: 1)
                seconds.append((ContinuousClock.now - start) / .seconds(1))
            }
            let text = seconds.map { $0.formatted(.number.precision(.fractionLength(3))) }.joined(separator: " ")
            report("\(rule.name), state \(optimizer.stateByteCount >> 20) MiB: \(text)")
        }
    }
}
