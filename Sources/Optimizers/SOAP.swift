import Configuration
import TensorCore

/// SOAP (Vyas et al. 2024): Adam in the eigenbasis of Shampoo's preconditioners.
///
/// L (m x m) and R (n x n) average G Gᵀ and Gᵀ G; the columns of Q_L and Q_R approximate their eigenvectors.
/// The first call only initializes and changes no weight:
///
///     L = (1 - beta) G Gᵀ,  R = (1 - beta) Gᵀ G,  Q_L, Q_R their eigenvectors by descending eigenvalue
///
/// Each later call, s = 1, 2, ...:
///
///     G' = Q_Lᵀ G Q_R                                 in the basis of past gradients
///     m <- beta1 m + (1 - beta1) G'     v <- beta2 v + (1 - beta2) G'²
///     U = Q_L ( m / (sqrt(v) + eps) ) Q_Rᵀ            divided by its root mean square if `normalize_grads`
///     W <- W - lr sqrt(1 - beta2^s) / (1 - beta1^s) U
///     W <- W - lr weight_decay W
///     L <- beta L + (1 - beta) G Gᵀ     R <- beta R + (1 - beta) Gᵀ G
///
/// and at every f-th s (f = `precondition_frequency`), one power step on each side: the columns q of Q are
/// sorted by descending qᵀ L q, v with them; Q <- the orthonormal factor of L Q; m is carried over
/// through the original space, v is not rotated.
///
/// beta is `shampoo_beta`, or beta2 without it. `sides: input` keeps only R, Q_R, the side of the input
/// dimension (the paper of COSMOS counts SOAP's memory so); a side longer than `max_precond_dim` is left out
/// too. Embedding, head and norm gains go to AdamW.
///
/// **Numerics.** eps before the bias correction, decay last. The bases are kept as rows: the tensors `q_left`
/// and `q_right` are Qᵀ. The first L and R of a matrix that is not square have a null space on the longer
/// side, within which the basis is arbitrary, and v with it: no two implementations agree there.
///
/// **Cost.** 2mn + 2m² + 2n² scalars of state (2mn + 2n² for `input`). A step takes 5 (m²n + mn²) FLOPs, a
/// refresh 6 (m³ + n³) and m's way there and back; the first call 9 (m³ + n³). `stagger` spreads the
/// refreshes over the period, a few layers a step.
///
/// **Beside the reference.** It carries m through the original space at every step, which changes nothing
/// but rounding while Q stays; here only at a refresh. It takes every parameter itself, with the first
/// call skipped for all; here embedding, head and gains go to AdamW and are updated from the first step on.
public final class SOAP: OptimizerRule {
    public enum Sides: String, CaseIterable, ConfigurationValue { case both, input }

    public struct Hyperparameters: OptimizerHyperparameters {
        public var lr = 3e-3
        public var betas = [0.95, 0.95]
        public var shampooBeta: Double?
        public var eps = 1e-8
        public var weightDecay = 0.01
        public var preconditionFrequency = 10
        public var maxPreconditionerDimension = 10_000
        public var sides = Sides.both
        public var normalizeGradients = false
        public var correctBias = true
        public var stagger = false
        public var adam = AdamW.Hyperparameters(lr: 3e-3, betas: [0.95, 0.95], eps: 1e-8, weightDecay: 0.01)

        public init() {}

        public var auxiliary: AdamW.Hyperparameters? { adam }

        public static var fields: [Field<Self>] {
            [
                .init("lr", \.lr, "learning rate of hidden matrices (default: reference)", .nonNegative),
                .init("betas", \.betas, "decay of the moments (default: reference)", .betas),
                .optional("shampoo_beta", \.shampooBeta, "decay of L and R; null: the second of betas", .range(0..<1)),
                .init("eps", \.eps, "added before the bias correction", .positive),
                .init("weight_decay", \.weightDecay, "decay after the update, lr * weight_decay a step", .nonNegative),
                .init(
                    "precondition_frequency", \.preconditionFrequency, "steps between two bases", .range(1...1 << 40)),
                .init("max_precond_dim", \.maxPreconditionerDimension, "longer sides stay as they are", .atLeast(1)),
                .init("sides", \.sides, "both, or only the input dimension (half the state or less)"),
                .init("normalize_grads", \.normalizeGradients, "scale each update to root mean square 1"),
                .init("correct_bias", \.correctBias, "Adam's bias correction"),
                .init("stagger", \.stagger, "spread the new bases over the period instead of all at one step"),
                .section("adam", \.adam, "AdamW on embedding, head and norm gains"),
            ]
        }
    }

    public static let name = "soap"
    public static let summary = "SOAP: Adam in the eigenbasis of Shampoo's preconditioners"
    public static let citation =
        "Vyas, Morwani, Zhao, Shapira, Brandfonbrener, Janson, Kakade: SOAP: Improving and Stabilizing Shampoo using "
        + "Adam, ICLR 2025, arXiv 2409.11321; github.com/nikhilvyas/SOAP"
    public static let stateFormula = "2mn + 2m² + 2n² (sides: input: 2mn + 2n²)"

    /// L with Q_L, or R with Q_R.
    private struct Side {
        let gram: Tensor<Float>
        /// Qᵀ: eigenvectors as rows.
        let basis: Tensor<Float>

        init(_ order: Int) {
            gram = Tensor(order, order)
            basis = Tensor(order, order)
        }
    }

    private let parameter: Parameter
    private let hyperparameters: Hyperparameters
    private let m: Tensor<Float>
    private let v: Tensor<Float>
    private let left: Side?
    private let right: Side?
    /// Added to the steps, so that layers take turns.
    private let offset: Int

    public init(parameter: Parameter, hyperparameters: Hyperparameters, position: RulePosition) {
        self.parameter = parameter
        self.hyperparameters = hyperparameters
        m = Tensor(parameter.shape)
        v = Tensor(parameter.shape)
        let orders = Self.orders(parameter.shape, hyperparameters)
        left = orders.left.map(Side.init)
        right = orders.right.map(Side.init)
        offset = hyperparameters.stagger ? position.offset(inPeriod: hyperparameters.preconditionFrequency) : 0
    }

    /// The dimensions of the sides that have a preconditioner.
    private static func orders(_ shape: [Int], _ hyperparameters: Hyperparameters) -> (left: Int?, right: Int?) {
        let (rows, columns) = (shape[0], shape[1])
        let limit = hyperparameters.maxPreconditionerDimension
        return (
            hyperparameters.sides == .both && rows <= limit ? rows : nil, columns <= limit ? columns : nil
        )
    }

    public static func stateCount(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> Int {
        let (left, right) = orders(shape, hyperparameters)
        return 2 * shape.reduce(1, *) + 2 * (left ?? 0) * (left ?? 0) + 2 * (right ?? 0) * (right ?? 0)
    }

    public static func notices(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> [String] {
        if case (nil, nil) = orders(shape, hyperparameters) {
            return [
                "max_precond_dim \(hyperparameters.maxPreconditionerDimension) excludes both sides: runs as Adam"
            ]
        }
        if hyperparameters.stagger, hyperparameters.preconditionFrequency == 1 {
            return ["stagger has no effect: precondition_frequency 1 makes every basis at every step"]
        }
        return []
    }

    public static func refreshInterval(_ hyperparameters: Hyperparameters) -> Int {
        hyperparameters.preconditionFrequency
    }

    public var state: [NamedTensor] {
        [NamedTensor("exp_avg", m), NamedTensor("exp_avg_sq", v)]
            + (left.map { [NamedTensor("gram_left", $0.gram), NamedTensor("q_left", $0.basis)] } ?? [])
            + (right.map { [NamedTensor("gram_right", $0.gram), NamedTensor("q_right", $0.basis)] } ?? [])
    }

    private struct Scratch {
        /// Only of the first call; the rest lies over it.
        let eigen: EigenScratch<Float>
        let update: Matrix<Float>
        let half: Matrix<Float>
        /// Of the longer side, for the power step.
        let power: UnsafeMutablePointer<Float>
        let eigenvalues: UnsafeMutablePointer<Float>
        let order: UnsafeMutablePointer<Int>
        let orthonormalization: OrthonormalizationScratch

        init(_ arena: Arena, _ weight: Matrix<Float>, longest: Int) {
            eigen = arena.overlaid { EigenScratch(arena, order: longest) }
            update = arena.matrix(weight.rows, weight.columns)
            half = arena.matrix(weight.rows, weight.columns)
            power = arena.array(longest * longest, of: Float.self)
            eigenvalues = arena.array(longest, of: Float.self)
            order = arena.array(longest, of: Int.self)
            orthonormalization = OrthonormalizationScratch(arena, rows: longest, columns: longest)
        }
    }

    private var longest: Int { max(left?.basis.shape[0] ?? 1, right?.basis.shape[0] ?? 1) }

    public var scratchByteCount: Int {
        Arena.byteCount { _ = Scratch($0, parameter.weight.matrix, longest: longest) }
    }

    public func step(_ context: StepContext) throws {
        let scratch = Scratch(context.arena, parameter.weight.matrix, longest: longest)
        let call = context.step - 1
        if call == 0 {
            averageGrams(decay: 0)
            for side in [left, right].compactMap(\.self) {
                try setEigenbasis(of: side, scratch)
            }
            return
        }
        try updateWeight(call: call, learningRate: context.learningRate, scratch)
        averageGrams(decay: beta)
        if (call + offset) % hyperparameters.preconditionFrequency == 0 { try refresh(scratch) }
    }

    private var beta: Double { hyperparameters.shampooBeta ?? hyperparameters.betas[1] }

    /// L and R with this gradient; `decay` 0 forgets what they were.
    private func averageGrams(decay: Double) {
        let gradient = parameter.gradient.matrix
        let weight = Float(1 - beta)
        if let left {
            multiplyByOwnTranspose(gradient.plain, into: left.gram.matrix, alpha: weight, beta: Float(decay))
        }
        if let right {
            multiplyByOwnTranspose(gradient.transposed, into: right.gram.matrix, alpha: weight, beta: Float(decay))
        }
    }

    private func setEigenbasis(of side: Side, _ scratch: Scratch) throws {
        let basis = side.basis.matrix
        basis.copy(from: side.gram.matrix)
        try eigenvectorRows(ofSymmetric: basis, scratch.eigen)
        // Descending eigenvalues: the rows in reverse.
        for row in 0..<basis.rows / 2 {
            let other = basis.row(basis.rows - 1 - row)
            for column in 0..<basis.columns { swap(&basis.row(row)[column], &other[column]) }
        }
    }

    private func updateWeight(call: Int, learningRate: Double, _ scratch: Scratch) throws {
        let (weight, gradient, update) = (parameter.weight.matrix, parameter.gradient.matrix, scratch.update)
        rotate(gradient, into: update, inward: true, scratch)
        let adam = AdamStep(
            epsFirst: hyperparameters.eps, betas: hyperparameters.betas, step: call, learningRate: learningRate,
            weightDecay: 0, correctBias: hyperparameters.correctBias)
        adam.normalize(update.base, m: m.data, v: v.data, count: m.count)
        rotate(update, into: update, inward: false, scratch)

        var scale = Double(adam.stepSize)
        if hyperparameters.normalizeGradients {
            scale /= 1e-30 + update.frobeniusNorm / Double(update.count).squareRoot()
        }
        // The decay acts on the updated weight: both factors shrink it alike.
        let decay = 1 - learningRate * hyperparameters.weightDecay
        try applyUpdate(update, to: weight, scale: scale * decay, decay: decay)
    }

    /// Into the eigenbasis, Q_Lᵀ x Q_R, or back out of it, Q_L x Q_Rᵀ; a side that has no basis is left as
    /// it is. `x` may be `y`.
    private func rotate(_ x: Matrix<Float>, into y: Matrix<Float>, inward: Bool, _ scratch: Scratch) {
        if let basis = left?.basis.matrix {
            multiply(inward ? basis.plain : basis.transposed, x.plain, into: scratch.half)
        } else {
            scratch.half.copy(from: x)
        }
        if let basis = right?.basis.matrix {
            multiply(scratch.half.plain, inward ? basis.transposed : basis.plain, into: y)
        } else {
            y.copy(from: scratch.half)
        }
    }

    /// One power step on each side, v sorted with it, m carried over.
    private func refresh(_ scratch: Scratch) throws {
        rotate(m.matrix, into: m.matrix, inward: false, scratch)
        if let left {
            let order = try powerStep(left, scratch)
            scratch.half.copy(from: v.matrix)
            for row in 0..<order.count {
                v.matrix.row(row).update(from: scratch.half.row(order[row]), count: v.matrix.columns)
            }
        }
        if let right {
            let order = try powerStep(right, scratch)
            scratch.half.copy(from: v.matrix)
            for row in 0..<v.matrix.rows {
                let (new, old) = (v.matrix.row(row), scratch.half.row(row))
                for column in 0..<order.count { new[column] = old[order[column]] }
            }
        }
        rotate(m.matrix, into: m.matrix, inward: true, scratch)
    }

    /// Q <- orthonormal factor of L Q, its columns first sorted by descending qᵀ L q. Returns the order: the
    /// new column i was column `order[i]`.
    private func powerStep(_ side: Side, _ scratch: Scratch) throws -> UnsafeMutableBufferPointer<Int> {
        let (gram, basis) = (side.gram.matrix, side.basis.matrix)
        let n = basis.rows
        let power = Matrix(scratch.power, rows: n, columns: n, stride: n)
        multiply(basis.plain, gram.plain, into: power)
        guard power.isFinite else { throw NumericalFailure("the preconditioner is not finite") }
        let eigenvalues = scratch.eigenvalues
        for row in 0..<n {
            var sum = Lanes.zero
            let (q, p) = (basis.row(row), power.row(row))
            forEachLanes(n) { offset, count in
                sum = Float.load(q + offset, count: count).multiplyAdd(Float.load(p + offset, count: count), sum)
            }
            eigenvalues[row] = sum.laneSum
        }
        // Each one's place is the number of those before it; equal ones keep their order.
        for row in 0..<n {
            var place = 0
            for other in 0..<n
            where eigenvalues[other] > eigenvalues[row] || (eigenvalues[other] == eigenvalues[row] && other < row) {
                place += 1
            }
            scratch.order[place] = row
        }
        for row in 0..<n { basis.row(row).update(from: power.row(scratch.order[row]), count: n) }
        try orthonormalizeRows(basis, scratch.orthonormalization)
        return UnsafeMutableBufferPointer(start: scratch.order, count: n)
    }
}
