import Configuration
import TensorCore

/// The settings of `NewtonSchulz`, among those of an optimizer that orthogonalizes its update.
public struct Orthogonalization: ConfigurationSection {
    public var nsSteps = 5
    public var nsCoefficients = [NewtonSchulz.quintic.x, NewtonSchulz.quintic.y, NewtonSchulz.quintic.z]
    public var nsPrecision = NewtonSchulz.Precision.fp32

    public init() {}

    public static let fields: [Field<Self>] = [
        .init("ns_steps", \.nsSteps, "Newton-Schulz iterations", .range(1...100)),
        .init("ns_coefficients", \.nsCoefficients, "a, b, c of aX + bAX + cA²X", .three),
        .init("ns_precision", \.nsPrecision, "fp32, or bf16 as in the references (default: training.precision)"),
    ]

    public var iteration: NewtonSchulz {
        NewtonSchulz(coefficients: SIMD3(nsCoefficients), steps: nsSteps, precision: nsPrecision)
    }
}

/// An optimizer with these settings, and what follows from them.
public protocol OrthogonalizingOptimizer: OptimizerSettings {
    var orthogonalization: Orthogonalization { get set }
}

extension OrthogonalizingOptimizer {
    public static var updateSizeIsFixed: Bool { true }
    public var usesBFloat16: Bool { orthogonalization.nsPrecision == .bf16 }

    public mutating func setDefaults(forBFloat16Training: Bool) {
        orthogonalization.nsPrecision = forBFloat16Training ? .bf16 : .fp32
    }
}

extension NewtonSchulz.Precision: ConfigurationValue {}

extension Check where Value == [Double] {
    static var three: Self { Self("a list of 3 numbers") { $0.count == 3 } }
}
