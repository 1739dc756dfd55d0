import Configuration
import TensorCore

/// GaLore (Zhao et al. 2024): AdamW within the leading singular space of the gradient.
///
/// At steps 1, T + 1, 2T + 1 ... (T = `update_proj_gap`) the basis becomes the `rank` leading singular
/// vectors of that step's gradient. With Q (r x n) on the right side:
///
///     R = G Qᵀ                         (m x r; on the left side R = P G with P (r x m), r x n)
///     m <- beta1 m + (1 - beta1) R     v <- beta2 v + (1 - beta2) R²
///     D = m / (sqrt(v) + eps) Q        (Pᵀ m / ...)
///     W <- W - lr sqrt(1 - beta2^t) / (1 - beta1^t) scale D
///     W <- W - lr weight_decay W
///
/// `std` projects the smaller side (the right one of a square), `reverse_std` the other; `left` and
/// `right` force one. Embedding, lm_head and norm gains run through the same rule unprojected, R = D = G,
/// without `scale`, at the same lr.
///
/// **Numerics.** eps is added before the bias correction and the decay comes last, as in the reference.
/// Moments are neither reset nor rotated when the basis changes, so the signs of its vectors
/// matter: the entry of largest magnitude is positive, where the reference keeps what LAPACK returns.
/// See `leadingSingularVectors` for their accuracy.
///
/// **Cost.** With d the projected dimension and o the other: d r + 2 o r scalars of state. A step takes
/// 4mnr FLOPs; a new basis p² q + 9 p³ in double precision (p, q: smaller and larger dimension), the
/// other side 2mnr more. `stagger` spreads these over the gap, a few layers a step.
///
/// **Beside the reference.** It decomposes the gradient itself by SVD; the space is the same. A rank
/// above the smaller dimension is reduced there in silence, here with a notice. Its `full` projection,
/// whose low-rank gradient is diagonal but for rounding noise, is left out.
public struct GaLore: OptimizerSettings {
    public enum Projection: String, CaseIterable, ConfigurationValue {
        case std
        case reverseStd = "reverse_std"
        case left, right
    }

    public static let name = "galore"
    public static let summary = "GaLore: AdamW within the leading singular space of the gradient"
    public static let citation =
        "Zhao, Zhang, Chen, Wang, Anandkumar, Tian: GaLore: Memory-Efficient LLM Training by Gradient Low-Rank "
        + "Projection, ICML 2024, arXiv 2403.03507; github.com/jiaweizzhao/GaLore"
    public static let stateFormula = "min(m,n) r + 2 max(m,n) r (std)"
    public static let decayFollowsUpdate = true

    public var lr = 0.01
    public var betas = [0.9, 0.999]
    public var eps = 1e-6
    public var weightDecay = 0.0
    public var rank = 128
    public var updateProjGap = 200
    public var scale = 0.25
    public var projection = Projection.std
    public var stagger = false
    public var adam: AdamSettings?

    public init() {}

    public static let settings: [Field<Self>] = [
        .init("lr", \.lr, "learning rate of every parameter (default: the scripts for C4)", .nonNegative),
        .init("betas", \.betas, "decay of the moments (default: reference)", .betas),
        .init("eps", \.eps, "added before the bias correction (default: reference)", .positive),
        .init("weight_decay", \.weightDecay, "decay after the update, lr * weight_decay a step", .nonNegative),
        .init(
            "rank", \.rank, "dimension of the projection (scripts: 128 for 60M, 256 for 130M and 350M)", .atLeast(1)),
        .init("update_proj_gap", \.updateProjGap, "steps between two bases (default: scripts)", .range(1...1 << 40)),
        .init("scale", \.scale, "factor of a projected update (default: scripts)", .nonNegative),
        .init("proj_type", \.projection, "which side is projected"),
        .init("stagger", \.stagger, "spread the new bases over the gap instead of all at one step"),
    ]

    public var renewal: Renewal? { Renewal(key: "update_proj_gap", interval: updateProjGap, isStaggered: stagger) }

    public func notices(shape: [Int], role: ParameterRole) -> [String] {
        guard role.isMatrix, let smaller = shape.min(), rank > smaller else { return [] }
        return ["rank \(rank) is reduced to \(smaller), the smaller dimension"]
    }

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        func adam(_ shape: [Int]) -> Adam { Adam(state, shape: shape, betas: betas, eps: eps, epsFirst: true) }
        guard parameter.role.isMatrix else { return adam(parameter.shape) }
        let (rows, columns) = (parameter.shape[0], parameter.shape[1])
        let side = side(isTall: rows >= columns)
        let rank = min(rank, rows, columns)
        return GaLoreRule(
            settings: self, adam: adam(side == .right ? [rows, rank] : [rank, columns]),
            basis: LowRankBasis(state, side, rank: rank, length: side == .right ? columns : rows))
    }

    private func side(isTall: Bool) -> SingularSide {
        switch projection {
        case .std: isTall ? .right : .left
        case .reverseStd: isTall ? .left : .right
        case .left: .left
        case .right: .right
        }
    }
}

private struct GaLoreRule: MatrixRule {
    let settings: GaLore
    let adam: Adam
    let basis: LowRankBasis

    func flops(rows: Int, columns: Int, renewing: Bool) -> Int {
        4 * rows * columns * basis.rank + (renewing ? basis.flopsOfRenewal(rows: rows, columns: columns) : 0)
    }

    /// R, then the direction, lies over the basis's scratch, which is done with by then.
    func scratch(_ arena: Arena, _ rows: Int, _ columns: Int) -> (basis: SingularBasisScratch, low: Matrix<Float>) {
        (basis.scratchOfRenewal(arena, rows, columns), arena.matrix(adam.m.shape[0], adam.m.shape[1]))
    }

    func step(_ scratch: Scratch, _ context: StepContext) throws {
        if context.isRenewal { try basis.renew(from: context.gradient, scratch.basis, on: context.pool) }
        basis.project(context.gradient, into: scratch.low, on: context.pool)
        let stepSize = adam.normalize(
            scratch.low, step: context.step, learningRate: context.learningRate, on: context.pool)
        guard scratch.low.isFinite(on: context.pool) else { throw NumericalFailure("the update is not finite") }
        // Straight into the weight: no m x n update is ever stored.
        let (a, b) = basis.factorsBack(scratch.low)
        context.apply(productOf: a, b, scale: stepSize * Float(settings.scale))
    }
}
