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
/// gradient, S as (1 - beta2) Uᵀ Gᵀ G U. With `nesterov`, as at the head of the official code,
/// D = ( (1 - beta1) G + beta1 M ) / ( 1 - beta1^(t+1) ): the exact mean with the gradient once more.
/// Embedding, head and norm gains go to AdamW.
///
/// **Numerics.** The bases are kept as rows, U as r x n, as LAPACK wants them. V is not rotated with the basis.
/// Where nothing is left over B is 0: where r is n, and at the first step where r is m or more. See `NewtonSchulz` for the iteration.
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
public final class COSMOS: OptimizerRule {
    public struct Hyperparameters: OptimizerHyperparameters {
        public var lr = 5e-4
        public var betas = [0.9, 0.98]
        public var eps = 1e-8
        public var weightDecay = 0.0
        public var rank = 64
        public var gamma = Gamma.auto
        public var nesterov = false
        public var nsPrecision = NewtonSchulz.Precision.fp32
        public var adam = AdamW.Hyperparameters(lr: 2e-3, betas: [0.9, 0.98], eps: 1e-8, weightDecay: 0)

        public init() {}

        public var auxiliary: AdamW.Hyperparameters? { adam }
        public var usesBFloat16: Bool { nsPrecision == .bf16 }

        public mutating func setDefaults(forBFloat16Training: Bool) {
            nsPrecision = forBFloat16Training ? .bf16 : .fp32
        }

        public static var fields: [Field<Self>] {
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
                .init(
                    "ns_precision", \.nsPrecision,
                    "Newton-Schulz in fp32, or bf16 as the official code (default: training.precision)"),
                .section("adam", \.adam, "AdamW on embedding, head and norm gains (default: paper)"),
            ]
        }

        public func validate() throws {
            if gamma == .auto, adam.lr == 0 {
                throw FieldError(
                    "gamma", "auto is lr / adam.lr, and adam.lr is 0", hint: "give gamma a number, such as 0.25")
            }
        }

        /// The weight of Muon's part.
        var gammaValue: Double {
            switch gamma {
            case .auto: lr / adam.lr
            case .number(let value): value
            }
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
                throw FieldProblem("\(node.text ?? "this") is not \(Self.typeName)")
            }
        }

        public var yaml: String {
            switch self {
            case .auto: "auto"
            case .number(let value): value.yaml
            }
        }
    }

    public static let name = "cosmos"
    public static let summary = "COSMOS: SOAP in the leading eigenspace, Muon in the rest"
    public static let citation =
        "Liu, Xu, Zhang, Kang, Li, Liang, Chen, Zhao: COSMOS: A Hybrid Adaptive Optimizer for Efficient Training of "
        + "Large Language Models, ICLR 2026, arXiv 2502.17410; github.com/lliu606/COSMOS"
    public static let stateFormula = "mn + mr + nr + r²"
    public static let updateSizeIsFixed = true

    private let parameter: Parameter
    private let hyperparameters: Hyperparameters
    private let newtonSchulz: NewtonSchulz
    private let momentum: Tensor<Float>
    /// Uᵀ: r x n, orthonormal rows.
    private let basis: Tensor<Float>
    /// S: r x r.
    private let projectedGram: Tensor<Float>
    /// V: m x r.
    private let secondMoment: Tensor<Float>

    public init(parameter: Parameter, hyperparameters: Hyperparameters, position: RulePosition) {
        self.parameter = parameter
        self.hyperparameters = hyperparameters
        newtonSchulz = NewtonSchulz(precision: hyperparameters.nsPrecision)
        let (rows, columns) = (parameter.shape[0], parameter.shape[1])
        let rank = min(hyperparameters.rank, columns)
        momentum = Tensor(rows, columns)
        basis = Tensor(rank, columns)
        projectedGram = Tensor(rank, rank)
        secondMoment = Tensor(rows, rank)
    }

    public static func stateCount(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> Int {
        let (rows, columns) = (shape[0], shape[1])
        let rank = min(hyperparameters.rank, columns)
        return rows * columns + rows * rank + columns * rank + rank * rank
    }

    public static func notices(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> [String] {
        let (rows, columns) = (shape[0], shape[1])
        var notices: [String] = []
        if hyperparameters.rank > columns {
            notices.append("rank \(hyperparameters.rank) is reduced to \(columns), the input dimension")
        }
        if hyperparameters.rank >= columns {
            notices.append("gamma has no effect: a rank of the input dimension leaves nothing to Muon's part")
        } else if hyperparameters.rank >= rows, hyperparameters.gammaValue > 0 {
            notices.append(
                "Muon's part of the first step is 0: a rank of \(hyperparameters.rank) holds all of the first gradient, "
                    + "which has \(rows) rows")
        }
        return notices
    }

    public var state: [NamedTensor] {
        [
            NamedTensor("momentum", momentum), NamedTensor("basis", basis),
            NamedTensor("projected_gram", projectedGram), NamedTensor("second_moment", secondMoment),
        ]
    }

    private struct Scratch {
        /// Only of the first step; the rest lies over it.
        let firstBasis: SingularBasisScratch
        /// G U, then D U: m x r.
        let low: Matrix<Float>
        /// The new Uᵀ: r x n.
        let basis: Matrix<Float>
        /// r x r.
        let rotation: Matrix<Float>
        let product: Matrix<Float>
        let orthonormalization: OrthonormalizationScratch
        /// D, then the residual: m x n.
        let update: Matrix<Float>
        let newtonSchulz: NewtonSchulz.Scratch

        init(_ arena: Arena, _ iteration: NewtonSchulz, weight: Matrix<Float>, rank: Int) {
            let (rows, columns) = (weight.rows, weight.columns)
            firstBasis = arena.overlaid { SingularBasisScratch(arena, rows: rows, columns: columns, rank: rank) }
            low = arena.matrix(rows, rank)
            basis = arena.matrix(rank, columns)
            rotation = arena.matrix(rank, rank)
            product = arena.matrix(rank, rank)
            orthonormalization = OrthonormalizationScratch(arena, rows: rank, columns: columns)
            update = arena.matrix(rows, columns)
            newtonSchulz = iteration.scratch(arena, rows: rows, columns: columns)
        }
    }

    public var scratchByteCount: Int {
        Arena.byteCount { _ = Scratch($0, newtonSchulz, weight: parameter.weight.matrix, rank: basis.shape[0]) }
    }

    public func step(_ context: StepContext) throws {
        let weight = parameter.weight.matrix
        let scratch = Scratch(context.arena, newtonSchulz, weight: weight, rank: basis.shape[0])
        try updateBasis(isFirst: context.step == 1, scratch)
        let update = try direction(step: context.step, scratch, context.pool)

        let size = Double(weight.count).squareRoot()
        try applyUpdate(
            update, to: weight,
            scale: context.learningRate * size / (update.frobeniusNorm + hyperparameters.eps),
            decay: 1 - context.learningRate * hyperparameters.weightDecay)
    }

    /// U, S and V with this step's gradient.
    private func updateBasis(isFirst: Bool, _ scratch: Scratch) throws {
        let beta2 = Float(hyperparameters.betas[1])
        let newWeight = Float(1 - hyperparameters.betas[1])
        let (gradient, u, s) = (parameter.gradient.matrix, basis.matrix, projectedGram.matrix)
        if isFirst {
            try leadingSingularVectors(of: gradient, .right, into: u, scratch.firstBasis)
        } else {
            // (beta2 U S + (1 - beta2) Gᵀ G U)ᵀ, S being symmetric.
            multiply(gradient.plain, u.transposed, into: scratch.low)
            multiply(s.plain, u.plain, into: scratch.basis)
            multiply(scratch.low.transposed, gradient.plain, into: scratch.basis, alpha: newWeight, beta: beta2)
            try orthonormalizeRows(scratch.basis, scratch.orthonormalization)
            // S in the new basis: Tᵀ S T with T = Uᵀ U'.
            multiply(u.plain, scratch.basis.transposed, into: scratch.rotation)
            multiply(s.plain, scratch.rotation.plain, into: scratch.product)
            multiply(scratch.rotation.transposed, scratch.product.plain, into: s)
            u.copy(from: scratch.basis)
        }
        multiply(gradient.plain, u.transposed, into: scratch.low)
        multiplyByOwnTranspose(scratch.low.transposed, into: s, alpha: newWeight, beta: isFirst ? 0 : beta2)
        let (decay, weight) = (Lanes(repeating: beta2), Lanes(repeating: newWeight))
        secondMoment.matrix.combine(with: scratch.low) { v, low in (low * weight).multiplyAdd(low, v * decay) }
    }

    /// A residual of that share of D is rounding: each of its elements is a sum of n products, rounded to 24 bits.
    private static let emptyResidual = 1e-5

    /// E = A + gamma B, in the scratch memory.
    private func direction(step: Int, _ scratch: Scratch, _ pool: WorkerPool) throws -> Matrix<Float> {
        let (rows, columns) = (parameter.shape[0], parameter.shape[1])
        let (beta1, beta2) = (hyperparameters.betas[0], hyperparameters.betas[1])
        let (gradient, u, update) = (parameter.gradient.matrix, basis.matrix, scratch.update)

        momentum.matrix.average(with: gradient, weight: 1 - beta1)
        update.copy(from: momentum.matrix)
        if hyperparameters.nesterov { update.average(with: gradient, weight: 1 - beta1) }
        let samples = hyperparameters.nesterov ? step + 1 : step
        let correction = Lanes(repeating: Float(1 / (1 - pow(beta1, Double(samples)))))
        update.apply { $0 * correction }
        let size = update.frobeniusNorm

        multiply(update.plain, u.transposed, into: scratch.low)
        multiply(scratch.low.plain, u.plain, into: update, alpha: -1, beta: 1)
        let rootCorrection = Lanes(repeating: Float((1 - pow(beta2, Double(step))).squareRoot()))
        let eps = Lanes(repeating: Float(hyperparameters.eps))
        scratch.low.combine(with: secondMoment.matrix) { low, v in low / (v.squareRoots / rootCorrection + eps) }
        guard scratch.low.isFinite else { throw NumericalFailure("the update is not finite") }

        // What rounding leaves of an empty residual must not be blown up to size 1.
        guard u.rows < columns, hyperparameters.gammaValue > 0, update.frobeniusNorm > Self.emptyResidual * size else {
            multiply(scratch.low.plain, u.plain, into: update)
            return update
        }
        let orthogonal = newtonSchulz.orthogonalize(update, scratch.newtonSchulz, on: pool)
        let share =
            hyperparameters.gammaValue * Double(rows * columns).squareRoot()
            / (orthogonal.frobeniusNorm + hyperparameters.eps)
        multiply(scratch.low.plain, u.plain, into: orthogonal, beta: Float(share))
        return orthogonal
    }
}
