import Files
import Foundation
import Optimizers
import TensorCore
import TestSupport
import Testing

/// How one parameter of a golden case is replayed: which optimizer, configured how. `rateScale` times the case's
/// learning rate is the rule's; `tolerance` is relative to the largest change of a weight.
struct GoldenPlan {
    let configuration: OptimizerConfiguration
    let role: ParameterRole
    let rateScale: Double
    let tolerance: Double

    static func replay<Settings: OptimizerSettings>(
        _: Settings.Type, _ role: ParameterRole, rateScale: Double = 1, tolerance: Double,
        _ set: (inout Settings) throws -> Void
    ) rethrows -> GoldenPlan {
        var settings = Settings()
        settings.lr = 1
        try set(&settings)
        return GoldenPlan(
            configuration: OptimizerConfiguration(settings), role: role, rateScale: rateScale, tolerance: tolerance)
    }
}

/// The agreement that an independent implementation in float32 reaches (Fixtures/README.md).
enum GoldenTolerance {
    static let elementwise = 1e-5
    static let factorized = 1e-3
    /// Newton-Schulz rounded to bfloat16; and on COSMOS's residual, which is exactly rank deficient.
    static let bf16 = 0.1
    static let bf16Deficient = 0.5
}

/// A case's settings, with the names of the references.
struct GoldenSettings {
    let hyper: JSONValue
    func double(_ key: String) throws -> Double { try #require(hyper[key].double, "no \(key) among the settings") }
    func int(_ key: String) throws -> Int { try #require(hyper[key].int, "no \(key) among the settings") }
    func bool(_ key: String) throws -> Bool {
        let value: Bool? = hyper[key].bool
        return try #require(value as Bool?, "no \(key) among the settings")
    }
    func betas() throws -> [Double] { try #require(hyper.betas.doubles, "no betas among the settings") }
}

extension GoldenCase {
    /// Replays `grad@t` of one parameter; the largest difference from `param@t` over the largest change
    /// from `param@0`, over all steps and elements. Against a float64 case, what rounding the weights to
    /// float32 at every step may add up to is not counted.
    func replayError(_ name: String, _ plan: GoldenPlan) throws -> Double {
        let start = try required("\(name)/param@0")
        let parameter = Parameter(name: name, shape: start.shape, role: plan.role)
        for (index, value) in start.floats.enumerated() { parameter.weight.data[index] = value }
        let optimizer = Optimizer(plan.configuration, parameters: [parameter], pool: WorkerPool(threads: 1))

        var (difference, change, largest) = (0.0, 0.0, 0.0)
        let rates = try #require(fields.lr.doubles)
        for step in 1...rates.count {
            let gradient = try required("\(name)/grad@\(step)").floats
            for index in gradient.indices { parameter.gradient.data[index] = gradient[index] }
            try optimizer.step(learningRateFactor: rates[step - 1] * plan.rateScale)
            #expect(parameter.gradient.elements.elementsEqual(gradient), "step \(step) wrote to the gradient")
            try importState(name, into: optimizer.slots[0], after: step)

            let expected = try required("\(name)/param@\(step)").doubles
            for index in expected.indices {
                difference = max(difference, abs(Double(parameter.weight.data[index]) - expected[index]))
                change = max(change, abs(expected[index] - start.doubles[index]))
                largest = max(largest, abs(expected[index]))
            }
        }
        let rounding = fields.dtype.string == "f64" ? Double(rates.count) * 0x1p-24 * largest : 0
        return max(0, difference - rounding) / change
    }
}
