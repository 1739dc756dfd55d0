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
/// `right` force one. Embedding, head and norm gains run through the same rule unprojected, R = D = G,
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
public final class GaLore: ElementwiseRule {
    public enum Projection: String, CaseIterable, ConfigurationValue {
        case std
        case reverseStd = "reverse_std"
        case left, right
    }

    public struct Hyperparameters: OptimizerHyperparameters {
        public var lr = 0.01
        public var betas = [0.9, 0.999]
        public var eps = 1e-6
        public var weightDecay = 0.0
        public var rank = 128
        public var updateProjGap = 200
        public var scale = 0.25
        public var projection = Projection.std
        public var stagger = false

        public init() {}

        public static var fields: [Field<Self>] {
            [
                .init("lr", \.lr, "learning rate of every parameter (default: the scripts for C4)", .nonNegative),
                .init("betas", \.betas, "decay of the moments (default: reference)", .betas),
                .init("eps", \.eps, "added before the bias correction (default: reference)", .positive),
                .init("weight_decay", \.weightDecay, "decay after the update, lr * weight_decay a step", .nonNegative),
                .init(
                    "rank", \.rank, "dimension of the projection (scripts: 128 for 60M, 256 for 130M and 350M)",
                    .atLeast(1)),
                .init(
                    "update_proj_gap", \.updateProjGap, "steps between two bases (default: scripts)",
                    .range(1...1 << 40)),
                .init("scale", \.scale, "factor of a projected update (default: scripts)", .nonNegative),
                .init("proj_type", \.projection, "which side is projected"),
                .init("stagger", \.stagger, "spread the new bases over the gap instead of all at one step"),
            ]
        }
    }

    public static let name = "galore"
    public static let summary = "GaLore: AdamW within the leading singular space of the gradient"
    public static let citation =
        "Zhao, Zhang, Chen, Wang, Anandkumar, Tian: GaLore: Memory-Efficient LLM Training by Gradient Low-Rank "
        + "Projection, ICML 2024, arXiv 2403.03507; github.com/jiaweizzhao/GaLore"
    public static let stateFormula = "min(m,n) r + 2 max(m,n) r (std)"

    private let parameter: Parameter
    private let hyperparameters: Hyperparameters
    /// r x d: the singular vectors as rows; nil where nothing is projected.
    private let basis: Tensor<Float>?
    private let side: SingularSide
    private let m: Tensor<Float>
    private let v: Tensor<Float>
    /// Subtracted from the steps, so that layers take turns.
    private let offset: Int

    public init(parameter: Parameter, hyperparameters: Hyperparameters, position: RulePosition) {
        self.parameter = parameter
        self.hyperparameters = hyperparameters
        side = Self.side(parameter.shape, hyperparameters)
        let shapes = Self.shapes(parameter.shape, parameter.role, hyperparameters)
        basis = shapes.basis.map { Tensor($0) }
        m = Tensor(shapes.moments)
        v = Tensor(shapes.moments)
        offset = hyperparameters.stagger ? position.offset(inPeriod: hyperparameters.updateProjGap) : 0
    }

    private static func side(_ shape: [Int], _ hyperparameters: Hyperparameters) -> SingularSide {
        let isTall = shape.count == 2 && shape[0] >= shape[1]
        return switch hyperparameters.projection {
        case .std: isTall ? .right : .left
        case .reverseStd: isTall ? .left : .right
        case .left: .left
        case .right: .right
        }
    }

    private static func shapes(
        _ shape: [Int], _ role: ParameterRole, _ hyperparameters: Hyperparameters
    ) -> (basis: [Int]?, moments: [Int]) {
        guard role.isMatrix else { return (nil, shape) }
        let (rows, columns) = (shape[0], shape[1])
        let rank = min(hyperparameters.rank, rows, columns)
        return switch side(shape, hyperparameters) {
        case .left: ([rank, rows], [rank, columns])
        case .right: ([rank, columns], [rows, rank])
        }
    }

    public static func stateCount(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> Int {
        let shapes = shapes(shape, role, hyperparameters)
        return (shapes.basis?.reduce(1, *) ?? 0) + 2 * shapes.moments.reduce(1, *)
    }

    public static func notices(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> [String] {
        guard role.isMatrix, let smaller = shape.min() else { return [] }
        var notices: [String] = []
        if hyperparameters.rank > smaller {
            notices.append("rank \(hyperparameters.rank) is reduced to \(smaller), the smaller dimension")
        }
        if hyperparameters.stagger, hyperparameters.updateProjGap == 1 {
            notices.append("stagger has no effect: update_proj_gap 1 makes every basis at every step")
        }
        return notices
    }

    public static func refreshInterval(_ hyperparameters: Hyperparameters) -> Int {
        hyperparameters.updateProjGap
    }

    public var state: [NamedTensor] {
        [NamedTensor("exp_avg", m), NamedTensor("exp_avg_sq", v)] + (basis.map { [NamedTensor("basis", $0)] } ?? [])
    }

    private struct Scratch {
        let singularBasis: SingularBasisScratch
        /// R, then the direction; lies over the basis's scratch, which is done with by then.
        let projected: Matrix<Float>

        init(_ arena: Arena, weight: Matrix<Float>, rank: Int, moments: Matrix<Float>) {
            singularBasis = arena.overlaid {
                SingularBasisScratch(arena, rows: weight.rows, columns: weight.columns, rank: rank)
            }
            projected = arena.matrix(moments.rows, moments.columns)
        }
    }

    public var scratchByteCount: Int {
        guard let basis else { return 0 }
        return Arena.byteCount {
            _ = Scratch($0, weight: parameter.weight.matrix, rank: basis.shape[0], moments: m.matrix)
        }
    }

    /// A projected matrix is one piece; what is not projected falls into rows.
    public var unitCount: Int { basis == nil ? parameter.weight.matrix.rows : 1 }

    public func step(units: Range<Int>, _ context: StepContext) throws {
        if let basis {
            try stepProjected(basis.matrix, context)
        } else {
            let columns = parameter.weight.matrix.columns
            let start = units.lowerBound * columns
            try adamStep(context).update(
                parameter.weight.data + start, parameter.gradient.data + start, m: m.data + start, v: v.data + start,
                count: units.count * columns)
        }
    }

    private func adamStep(_ context: StepContext) -> AdamStep {
        AdamStep(
            epsFirst: hyperparameters.eps, betas: hyperparameters.betas, step: context.step,
            learningRate: context.learningRate, weightDecay: hyperparameters.weightDecay)
    }

    private func stepProjected(_ basis: Matrix<Float>, _ context: StepContext) throws {
        let (weight, gradient) = (parameter.weight.matrix, parameter.gradient.matrix)
        let scratch = Scratch(context.arena, weight: weight, rank: basis.rows, moments: m.matrix)
        let projected = scratch.projected
        if context.step == 1 || (context.step - 1 + offset) % hyperparameters.updateProjGap == 0 {
            try leadingSingularVectors(of: gradient, side, into: basis, scratch.singularBasis)
        }
        switch side {
        case .left: multiply(basis.plain, gradient.plain, into: projected)
        case .right: multiply(gradient.plain, basis.transposed, into: projected)
        }
        let adam = adamStep(context)
        adam.normalize(projected.base, m: m.data, v: v.data, count: m.count)
        guard projected.isFinite else { throw NumericalFailure("the update is not finite") }

        // Straight into the weight: no m x n update is ever stored.
        let stepSize = -adam.stepSize * Float(hyperparameters.scale)
        switch side {
        case .left: multiply(basis.transposed, projected.plain, into: weight, alpha: stepSize, beta: 1)
        case .right: multiply(projected.plain, basis.plain, into: weight, alpha: stepSize, beta: 1)
        }
        if hyperparameters.weightDecay != 0 {
            let decay = Lanes(repeating: Float(1 - context.learningRate * hyperparameters.weightDecay))
            weight.apply { $0 * decay }
        }
    }
}
