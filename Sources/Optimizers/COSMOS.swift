import Configuration
import Glibc
import TensorCore

/// COSMOS (Liu et al. 2025): SOAP in the leading eigenspace of the gradient's second moment, Muon in what
/// is left. Algorithm 1 of arXiv 2502.17410.
///
///     M <- beta1 M + (1 - beta1) G                                                m x n
///     U' = orthonormalize( beta2 U S + (1 - beta2) Gᵀ G U )                       n x r, one power step
///     S <- U'ᵀ ( beta2 U S Uᵀ + (1 - beta2) Gᵀ G ) U' ;   U <- U'                 r x r
///     V <- beta2 V + (1 - beta2) (G U)²                                           m x r
///     D = M / (1 - beta1^t)
///     A = ( D U / ( sqrt(V) / sqrt(1 - beta2^t) + eps ) ) Uᵀ                      SOAP's part
///     B = NewtonSchulz( D - D U Uᵀ ) scaled to root mean square 1                 Muon's part
///     E = A + gamma B
///     W <- W - lr weight_decay W - lr sqrt(mn) E / |E|
///
/// The root mean square of an update is lr. U starts as the r leading right singular vectors of the first
/// gradient, S as (1 - beta2) Uᵀ Gᵀ G U. With `nesterov`, as in the newest official code,
/// D = ( (1 - beta1) G + beta1 M ) / ( 1 - beta1^(t+1) ): the exact mean with the gradient once more.
/// Embedding, lm_head and norm gains go to AdamW.
///
/// **Numerics.** The bases are kept as rows, U as r x n, as LAPACK wants them. V is not rotated with the basis.
/// Where nothing is left over B is 0: where r is n, and at the first step where r is m or more. See `NewtonSchulz`
/// for the iteration.
///
/// **Cost.** mn + mr + nr + r² scalars of state, and nothing n x n: the first basis comes from the smaller
/// Gram matrix. A step takes 12mnr + 4nr² FLOPs for A and the basis, and for B what Muon's does.
///
/// **Beside the official code** (github.com/lliu606/COSMOS at 61de180), where this follows the paper:
/// * Without `nesterov` the code uses the bare gradient for D and never its momentum; here D is the momentum.
/// * Its Adam for the other parameters weighs the gradient by 0.1 and corrects by 1 - 0.9^t whatever
///   beta1 is, which doubles their step at beta1 0.95; here AdamW is consistent.
/// * Its basis stays a view of the n x n decomposition of the first step, which stays in memory.
/// * It overwrites the gradient, and goes by the number of rows (10000) where this goes by role.
/// * Its matrix learning rate is lr * lr_ratio and its decay lr * weight_decay; here `lr` is the
///   matrices' own, and the decay lr * weight_decay with it: multiply their weight_decay by
///   1/lr_ratio for the same decay.
/// The paper writes eps inside the root, sqrt((V + eps)/(1 - beta2^t)); every version of the code adds it
/// outside, and so does this.
public struct COSMOS: OrthogonalizingOptimizer {
    public static let name = "cosmos"
    public static let summary = "COSMOS: SOAP in the leading eigenspace, Muon in the rest"
    public static let citation =
        "Liu, Xu, Zhang, Kang, Li, Liang, Chen, Zhao: COSMOS: A Hybrid Adaptive Optimizer for Efficient Training of "
        + "Large Language Models, ICLR 2026, arXiv 2502.17410; github.com/lliu606/COSMOS"
    public static let stateFormula = "mn + mr + nr + r²"

    public var lr = 5e-4
    public var betas = [0.9, 0.98]
    public var eps = 1e-8
    public var weightDecay = 0.0
    public var rank = 64
    public var gamma = Gamma.auto
    public var nesterov = false
    public var orthogonalization = Orthogonalization()
    public var adam: AdamSettings? = AdamSettings(lr: 2e-3, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0)

    public init() {}

    public static let settings: [Field<Self>] =
        [
            .init(
                "lr", \.lr, "learning rate of hidden matrices, the size of their update (default: paper, 130M)",
                .nonNegative),
            .init("betas", \.betas, "decay of momentum; of V, U and S (default: paper, LLaMA)", .betas),
            .init("eps", \.eps, "added to the root of V and to norms", .positive),
            .init("weight_decay", \.weightDecay, "decoupled decay: lr * weight_decay a step", .nonNegative),
            .init("rank", \.rank, "dimension of the eigenspace (default: paper)", .atLeast(1)),
            .init("gamma", \.gamma, "weight of Muon's part; auto is the paper's lr / adam.lr"),
            .init("nesterov", \.nesterov, "mix the gradient into the momentum once more (official code of 2026)"),
        ] + Orthogonalization.fields.map { $0.within(\.orthogonalization) }

    public func validate() throws {
        if gamma == .auto, adam?.lr == 0 {
            throw FieldError(
                "gamma", "auto is lr / adam.lr, and adam.lr is 0", hint: "give gamma a number, such as 0.25")
        }
    }

    fileprivate var gammaValue: Double {
        switch gamma {
        case .auto: lr / (adam?.lr ?? lr)
        case .number(let value): value
        }
    }

    /// A number, or the paper's heuristic.
    public enum Gamma: ConfigurationValue, Equatable {
        case auto
        case number(Double)

        public static var typeName: String { "a number, 0 or greater, or auto" }

        public init(configuration node: ConfigurationNode) throws {
            if node.text == "auto" {
                self = .auto
            } else if let value = try? Double(configuration: node), value >= 0 {
                self = .number(value)
            } else {
                throw node.mismatch(Self.typeName)
            }
        }

        public var yaml: String {
            switch self {
            case .auto: "auto"
            case .number(let value): value.yaml
            }
        }
    }

    public func notices(shape: [Int], role: ParameterRole) -> [String] {
        let (rows, columns) = (shape[0], shape[1])
        var notices: [String] = []
        if rank > columns { notices.append("rank \(rank) is reduced to \(columns), the input dimension") }
        if rank >= columns {
            notices.append("gamma has no effect: a rank of the input dimension leaves nothing to Muon's part")
        } else if rank >= rows, gammaValue > 0 {
            notices.append(
                "Muon's part of the first step is 0: a rank of \(rank) holds all of the first gradient, which has "
                    + "\(rows) rows")
        }
        return notices
    }

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        let (rows, columns) = (parameter.shape[0], parameter.shape[1])
        let rank = min(rank, columns)
        return COSMOSRule(
            settings: self, newtonSchulz: orthogonalization.iteration,
            momentum: Momentum(state, shape: parameter.shape, mu: betas[0], isNesterov: nesterov),
            basis: LowRankBasis(state, .right, rank: rank, length: columns),
            projectedGram: state.tensor("projected_gram", rank, rank),
            secondMoment: state.tensor("second_moment", rows, rank))
    }
}

private struct COSMOSRule: MatrixRule {
    let settings: COSMOS
    let newtonSchulz: NewtonSchulz
    let momentum: Momentum
    /// Uᵀ: r x n, orthonormal rows.
    let basis: LowRankBasis
    /// S: r x r.
    let projectedGram: Tensor<Float>
    /// V: m x r.
    let secondMoment: Tensor<Float>

    func flops(rows m: Int, columns n: Int, renewing: Bool) -> Int {
        12 * m * n * basis.rank + 4 * n * basis.rank * basis.rank + newtonSchulz.flops(rows: m, columns: n)
    }

    struct Scratch {
        /// Only of the first step; the rest lies over it.
        let firstBasis: SingularBasisScratch
        /// G U, then D U: m x r.
        let low: Matrix<Float>
        /// The new Uᵀ: r x n.
        let basis: Matrix<Float>
        /// U as a right operand.
        let packed: UnsafeMutablePointer<Float>
        /// r x r.
        let rotation: Matrix<Float>
        let product: Matrix<Float>
        let orthonormalization: OrthonormalizationScratch
        /// D, then the residual: m x n.
        let update: Matrix<Float>
        let newtonSchulz: NewtonSchulz.Scratch
    }

    func scratch(_ arena: Arena, _ m: Int, _ n: Int) -> Scratch {
        let r = basis.rank
        return Scratch(
            firstBasis: basis.scratchOfRenewal(arena, m, n), low: arena.matrix(m, r), basis: arena.matrix(r, n),
            packed: arena.array(Float.packedCount(rows: n, columns: r), of: Float.self), rotation: arena.matrix(r, r),
            product: arena.matrix(r, r),
            orthonormalization: OrthonormalizationScratch(arena, rows: r, columns: n), update: arena.matrix(m, n),
            newtonSchulz: newtonSchulz.scratch(arena, rows: m, columns: n))
    }

    func step(_ scratch: Scratch, _ context: StepContext) throws {
        try updateBasis(scratch, context)
        let (update, norm) = try direction(scratch, context)
        let size = Double(update.count).squareRoot() / (norm + settings.eps)
        try context.apply(update, scale: context.learningRate * size)
    }

    /// U, S and V with this step's gradient.
    private func updateBasis(_ scratch: Scratch, _ context: StepContext) throws {
        let beta2 = Float(settings.betas[1])
        let newWeight = Float(1 - settings.betas[1])
        let isFirst = context.step == 1
        let (gradient, u, s, pool) = (context.gradient, basis.matrix, projectedGram.matrix, context.pool)
        if isFirst {
            try basis.renew(from: gradient, scratch.firstBasis, on: pool)
        } else {
            // (beta2 U S + (1 - beta2) Gᵀ G U)ᵀ, S being symmetric.
            basis.project(gradient, into: scratch.low, packed: scratch.packed, on: pool)
            multiply(s.plain, u.plain, into: scratch.basis, on: pool)
            multiply(
                scratch.low.transposed, gradient.plain, into: scratch.basis, alpha: newWeight, beta: beta2, on: pool)
            try orthonormalizeRows(scratch.basis, scratch.orthonormalization, on: pool)
            // S in the new basis: Tᵀ S T with T = Uᵀ U'.
            multiply(u.plain, scratch.basis.transposed, into: scratch.rotation, on: pool)
            multiply(s.plain, scratch.rotation.plain, into: scratch.product, on: pool)
            multiply(scratch.rotation.transposed, scratch.product.plain, into: s, on: pool)
            u.copy(from: scratch.basis)
        }
        project(gradient, scratch, context)
        multiplyByOwnTranspose(scratch.low.transposed, into: s, alpha: newWeight, beta: isFirst ? 0 : beta2, on: pool)
        let (decay, weight) = (Lanes(repeating: beta2), Lanes(repeating: newWeight))
        secondMoment.matrix.combine(with: scratch.low, on: pool) { v, low in (low * weight).multiplyAdd(low, v * decay)
        }
    }

    /// x U. The first gradient lies in the span of as many basis vectors as it has rows: along the others it is 0,
    /// and what a product leaves there is rounding, which must not be divided by its own size.
    private func project(_ x: Matrix<Float>, _ scratch: Scratch, _ context: StepContext) {
        let low = scratch.low
        basis.project(x, into: low, packed: scratch.packed, on: context.pool)
        guard context.step == 1, x.rows < low.columns else { return }
        for row in 0..<low.rows { (low.row(row) + x.rows).update(repeating: 0, count: low.columns - x.rows) }
    }

    /// A residual of that share of D is rounding: its elements are sums of r products, rounded to 24 bits.
    private static let emptyResidual = 1e-5

    /// E = A + gamma B, in the scratch memory, and its norm.
    private func direction(_ scratch: Scratch, _ context: StepContext) throws -> (Matrix<Float>, norm: Double) {
        let (u, update, low, pool) = (basis.matrix, scratch.update, scratch.low, context.pool)
        let samples = settings.nesterov ? context.step + 1 : context.step
        let size = momentum.take(context, into: update, factor: 1 / (1 - pow(settings.betas[0], Double(samples))))

        project(update, scratch, context)
        let residual = multiplyTakingNorm(low.plain, u.plain, into: update, alpha: -1, beta: 1, on: pool)
        let rootCorrection = Lanes(
            repeating: Float((1 - pow(settings.betas[1], Double(context.step))).squareRoot()))
        let eps = Lanes(repeating: Float(settings.eps))
        low.combine(with: secondMoment.matrix, on: pool) { low, v in low / (v.squareRoots / rootCorrection + eps) }
        guard low.isFinite(on: pool) else { throw NumericalFailure("the update is not finite") }

        // What rounding leaves of an empty residual must not be blown up to size 1.
        guard u.rows < update.columns, settings.gammaValue > 0, residual > Self.emptyResidual * size else {
            return (update, multiplyTakingNorm(low.plain, u.plain, into: update, on: pool))
        }
        newtonSchulz.orthogonalize(update, norm: residual, scratch.newtonSchulz, on: pool)
        let share =
            settings.gammaValue * Double(update.count).squareRoot()
            / (update.frobeniusNorm(on: pool) + settings.eps)
        return (update, multiplyTakingNorm(low.plain, u.plain, into: update, beta: Float(share), on: pool))
    }
}
