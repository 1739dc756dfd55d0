import Configuration
import TensorCore

/// Muon (Jordan et al. 2024): momentum, orthogonalized, for hidden matrices; AdamW for the rest.
///
///     M <- mu M + (1 - mu) G
///     U = mu M + (1 - mu) G     (nesterov)     U = M     (not)
///     O = NewtonSchulz(U)
///     W <- W - lr weight_decay W - lr scale O
///
/// with scale = sqrt(max(1, m/n)) (`original`, Keller Jordan's) or 0.2 sqrt(max(m, n))
/// (`match_rms_adamw`, Moonlight's: an update of about AdamW's size, so that AdamW's lr and decay can be
/// reused). W, G, M: m x n = out_features x in_features.
///
/// **Numerics.** The decay takes the unscaled lr. The size of the update does not depend on that of the
/// gradient; zero stays zero. See `NewtonSchulz` for the iteration.
///
/// **Cost.** mn scalars of state. With p, q the smaller and larger dimension, a step takes
/// `ns_steps` (3 p² q + p³) FLOPs in fp32.
///
/// **Beside the references.** Keller Jordan's and PyTorch's keep this moving average and run the
/// iteration in bfloat16, as this does where the model trains in bf16; else fp32 is the default. Moonlight's sums
/// M <- mu M + G instead, which points in the same direction; its AdamW adds eps before the bias
/// correction, ours after. Keller Jordan's overwrites the gradient; nothing here does.
public final class Muon: OptimizerRule {
    public enum Scale: String, CaseIterable, ConfigurationValue {
        case original
        case matchRMSAdamW = "match_rms_adamw"
    }

    public struct Hyperparameters: OptimizerHyperparameters {
        public var lr = 0.02
        public var momentum = 0.95
        public var nesterov = true
        public var weightDecay = 0.0
        public var scale = Scale.original
        public var nsSteps = 5
        public var nsCoefficients = [NewtonSchulz.quintic.x, NewtonSchulz.quintic.y, NewtonSchulz.quintic.z]
        public var nsPrecision = NewtonSchulz.Precision.fp32
        public var adam = AdamW.Hyperparameters(lr: 3e-4, betas: [0.9, 0.95], eps: 1e-10, weightDecay: 0)

        public init() {}

        public var auxiliary: AdamW.Hyperparameters? { adam }
        public var usesBFloat16: Bool { nsPrecision == .bf16 }

        public mutating func setDefaults(forBFloat16Training: Bool) {
            nsPrecision = forBFloat16Training ? .bf16 : .fp32
        }

        public static var fields: [Field<Self>] {
            [
                .init("lr", \.lr, "learning rate of hidden matrices (default: Keller Jordan's)", .nonNegative),
                .init("momentum", \.momentum, "decay of the momentum", .range(0..<1)),
                .init("nesterov", \.nesterov, "look ahead: mix the gradient into the momentum once more"),
                .init("weight_decay", \.weightDecay, "decoupled decay: lr * weight_decay a step", .nonNegative),
                .init("scale", \.scale, "factor of the update; match_rms_adamw is Moonlight's"),
                .init("ns_steps", \.nsSteps, "Newton-Schulz iterations", .range(1...100)),
                .init("ns_coefficients", \.nsCoefficients, "a, b, c of aX + bAX + cA²X", .three),
                .init(
                    "ns_precision", \.nsPrecision, "fp32, or bf16 as in the references (default: training.precision)"),
                .section("adam", \.adam, "AdamW on embedding, head and norm gains (default: Keller Jordan's)"),
            ]
        }
    }

    public static let name = "muon"
    public static let summary = "Muon: momentum orthogonalized by Newton-Schulz"
    public static let citation =
        "Jordan, Jin, Boza et al.: Muon, 2024, kellerjordan.github.io/posts/muon; github.com/KellerJordan/Muon; "
        + "Liu, Su et al.: Muon is Scalable for LLM Training, 2025, arXiv 2502.16982"
    public static let stateFormula = "mn"
    public static let updateSizeIsFixed = true

    private let parameter: Parameter
    private let hyperparameters: Hyperparameters
    private let newtonSchulz: NewtonSchulz
    private let momentum: Tensor<Float>

    public init(parameter: Parameter, hyperparameters: Hyperparameters, position: RulePosition) {
        self.parameter = parameter
        self.hyperparameters = hyperparameters
        let coefficients = SIMD3(hyperparameters.nsCoefficients)
        newtonSchulz = NewtonSchulz(
            coefficients: coefficients, steps: hyperparameters.nsSteps, precision: hyperparameters.nsPrecision)
        momentum = Tensor(parameter.shape)
    }

    public static func stateCount(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> Int {
        shape.reduce(1, *)
    }

    public var state: [NamedTensor] { [NamedTensor("momentum", momentum)] }

    private struct Scratch {
        let update: Matrix<Float>
        let newtonSchulz: NewtonSchulz.Scratch

        init(_ arena: Arena, _ iteration: NewtonSchulz, rows: Int, columns: Int) {
            update = arena.matrix(rows, columns)
            newtonSchulz = iteration.scratch(arena, rows: rows, columns: columns)
        }
    }

    public var scratchByteCount: Int {
        let weight = parameter.weight.matrix
        return Arena.byteCount { _ = Scratch($0, newtonSchulz, rows: weight.rows, columns: weight.columns) }
    }

    public func step(_ context: StepContext) throws {
        let (weight, gradient) = (parameter.weight.matrix, parameter.gradient.matrix)
        let scratch = Scratch(context.arena, newtonSchulz, rows: weight.rows, columns: weight.columns)
        momentum.matrix.average(with: gradient, weight: 1 - hyperparameters.momentum)
        scratch.update.copy(from: momentum.matrix)
        if hyperparameters.nesterov { scratch.update.average(with: gradient, weight: 1 - hyperparameters.momentum) }

        let orthogonal = newtonSchulz.orthogonalize(scratch.update, scratch.newtonSchulz, on: context.pool)
        try applyUpdate(
            orthogonal, to: weight, scale: context.learningRate * scale(weight.rows, weight.columns),
            decay: 1 - context.learningRate * hyperparameters.weightDecay)
    }

    private func scale(_ rows: Int, _ columns: Int) -> Double {
        switch hyperparameters.scale {
        case .original: max(1, Double(rows) / Double(columns)).squareRoot()
        case .matchRMSAdamW: 0.2 * Double(max(rows, columns)).squareRoot()
        }
    }
}

extension NewtonSchulz.Precision: ConfigurationValue {}

extension Check where Value == [Double] {
    /// Three numbers of any sign.
    static var three: Self { Self("a list of 3 numbers") { $0.count == 3 } }
}
