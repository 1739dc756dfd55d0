import Configuration
import TensorCore

/// The settings of `NewtonSchulz`, among those of an optimizer that orthogonalizes its update.
public struct Orthogonalization: ConfigurationSection {
    public var nsSteps = 5
    public var nsCoefficients = NewtonSchulz.Coefficients.quintic
    public var nsPrecision = NewtonSchulz.Precision.fp32

    public init() {}

    public static let fields: [Field<Self>] = [
        .init("ns_steps", \.nsSteps, "Newton-Schulz iterations", .range(1...100)),
        .init("ns_coefficients", \.nsCoefficients, "quintic, polar_express, or a, b, c of aX + bAX + cA²X"),
        .init("ns_precision", \.nsPrecision, "fp32, or bf16 as in the references (default: training.precision)"),
    ]

    public var iteration: NewtonSchulz {
        NewtonSchulz(coefficients: nsCoefficients, steps: nsSteps, precision: nsPrecision)
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

extension NewtonSchulz.Coefficients: ConfigurationValue {
    public static var typeName: String { "quintic, polar_express or a list of 3 numbers" }

    public init(configuration node: ConfigurationNode) throws {
        switch node.text {
        case "quintic": self = .quintic
        case "polar_express": self = .polarExpress
        default:
            guard let numbers = try? [Double](configuration: node), numbers.count == 3 else {
                throw node.mismatch(Self.typeName)
            }
            let triple = SIMD3(numbers)
            self = triple == Self.usual ? .quintic : .fixed(triple)
        }
    }

    public var yaml: String {
        switch self {
        case .quintic: "quintic"
        case .polarExpress: "polar_express"
        case .fixed(let triple): [triple.x, triple.y, triple.z].yaml
        }
    }
}
