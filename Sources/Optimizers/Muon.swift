import Configuration
import TensorCore

/// Muon (Jordan et al. 2024): momentum, orthogonalized, for hidden matrices; AdamW for the rest.
///
///     M <- mu M + (1 - mu) G
///     U = mu M + (1 - mu) G     (nesterov)     U = M     (not)
///     O = NewtonSchulz(U)
///     W <- W - lr weight_decay W - lr scale O
///
/// with scale = sqrt(max(1, m/n)) (`original`, Keller Jordan's), 0.2 sqrt(max(m, n))
/// (`match_rms_adamw`, Moonlight's: an update of about AdamW's size, so that AdamW's lr and decay can be
/// reused) or sqrt(mn) / |O| (`unit_rms`, COSMOS's normalization: the root mean square of an update is lr).
/// W, G, M: m x n = out_features x in_features.
///
/// **Numerics.** The decay takes the unscaled lr. The size of the update does not depend on that of the
/// gradient; zero stays zero. See `NewtonSchulz` for the iteration.
///
/// **Cost.** mn scalars of state. With p, q the smaller and larger dimension, a step takes
/// at most `ns_steps` (3 p² q + p³) FLOPs.
///
/// **Beside the references.** Keller Jordan's and PyTorch's keep this moving average and run the
/// iteration in bfloat16, as this does where the model trains in bf16; else fp32 is the default. Moonlight's sums
/// M <- mu M + G instead, which points in the same direction; its AdamW adds eps before the bias
/// correction, ours after. Keller Jordan's overwrites the gradient; nothing here does.
public struct Muon: OrthogonalizingOptimizer {
    public enum Scale: String, CaseIterable, ConfigurationValue {
        case original
        case matchRMSAdamW = "match_rms_adamw"
        case unitRMS = "unit_rms"
    }

    public static let name = "muon"
    public static let summary = "Muon: momentum orthogonalized by Newton-Schulz"
    public static let citation =
        "Jordan, Jin, Boza et al.: Muon, 2024, kellerjordan.github.io/posts/muon; github.com/KellerJordan/Muon; "
        + "Liu, Su et al.: Muon is Scalable for LLM Training, 2025, arXiv 2502.16982"
    public static let stateFormula = "mn"

    public var lr = 0.02
    public var momentum = 0.95
    public var nesterov = true
    public var weightDecay = 0.0
    public var scale = Scale.original
    public var orthogonalization = Orthogonalization()
    public var adam: AdamSettings? = AdamSettings(lr: 3e-4, betas: [0.9, 0.95], eps: 1e-10, weightDecay: 0)

    public init() {}

    public static let settings: [Field<Self>] =
        [
            .init("lr", \.lr, "learning rate of hidden matrices (default: Keller Jordan's)", .nonNegative),
            .init("momentum", \.momentum, "decay of the momentum", .range(0..<1)),
            .init("nesterov", \.nesterov, "look ahead: mix the gradient into the momentum once more"),
            .init("weight_decay", \.weightDecay, "decoupled decay: lr * weight_decay a step", .nonNegative),
            .init("scale", \.scale, "factor of the update; match_rms_adamw is Moonlight's, unit_rms COSMOS's"),
        ] + Orthogonalization.fields.map { $0.within(\.orthogonalization) }

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        MuonRule(
            settings: self, newtonSchulz: orthogonalization.iteration,
            momentum: Momentum(state, shape: parameter.shape, mu: momentum, isNesterov: nesterov))
    }
}

private struct MuonRule: MatrixRule {
    let settings: Muon
    let newtonSchulz: NewtonSchulz
    let momentum: Momentum

    func flops(rows: Int, columns: Int, renewing: Bool) -> Int { newtonSchulz.flops(rows: rows, columns: columns) }

    func scratch(_ arena: Arena, _ m: Int, _ n: Int) -> (update: Matrix<Float>, newtonSchulz: NewtonSchulz.Scratch) {
        (arena.matrix(m, n), newtonSchulz.scratch(arena, rows: m, columns: n))
    }

    func step(_ scratch: Scratch, _ context: StepContext) throws {
        let norm = momentum.take(context, into: scratch.update)
        let update = scratch.update
        newtonSchulz.orthogonalize(update, norm: norm, scratch.newtonSchulz, on: context.pool)
        try context.apply(update, scale: context.learningRate * scale(of: update, on: context.pool))
    }

    private func scale(of update: Matrix<Float>, on pool: WorkerPool) -> Double {
        let (rows, columns) = (Double(update.rows), Double(update.columns))
        return switch settings.scale {
        case .original: max(1, rows / columns).squareRoot()
        case .matchRMSAdamW: 0.2 * max(rows, columns).squareRoot()
        case .unitRMS: (rows * columns).squareRoot() / (update.frobeniusNorm(on: pool) + 1e-7)
        }
    }
}
