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
/// too. Embedding, lm_head and norm gains go to AdamW.
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
/// call skipped for all; here embedding, lm_head and gains go to AdamW and are updated from the first step on.
public struct SOAP: OptimizerSettings {
    public enum Sides: String, CaseIterable, ConfigurationValue { case both, input }

    public static let name = "soap"
    public static let summary = "SOAP: Adam in the eigenbasis of Shampoo's preconditioners"
    public static let citation =
        "Vyas, Morwani, Zhao, Shapira, Brandfonbrener, Janson, Kakade: SOAP: Improving and Stabilizing Shampoo using "
        + "Adam, ICLR 2025, arXiv 2409.11321; github.com/nikhilvyas/SOAP"
    public static let stateFormula = "2mn + 2m² + 2n² (sides: input: 2mn + 2n²)"
    public static let decayFollowsUpdate = true

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
    public var adam: AdamSettings? = AdamSettings(lr: 3e-3, betas: [0.95, 0.95], eps: 1e-8, weightDecay: 0.01)

    public init() {}

    public static let settings: [Field<Self>] = [
        .init("lr", \.lr, "learning rate of hidden matrices (default: reference)", .nonNegative),
        .init("betas", \.betas, "decay of the moments (default: reference)", .betas),
        .optional("shampoo_beta", \.shampooBeta, "decay of L and R; null: the second of betas", .range(0..<1)),
        .init("eps", \.eps, "added before the bias correction", .positive),
        .init("weight_decay", \.weightDecay, "decay after the update, lr * weight_decay a step", .nonNegative),
        .init("precondition_frequency", \.preconditionFrequency, "steps between two bases", .range(1...1 << 40)),
        .init("max_precond_dim", \.maxPreconditionerDimension, "longer sides stay as they are", .atLeast(1)),
        .init("sides", \.sides, "both, or only the input dimension (half the state or less)"),
        .init("normalize_grads", \.normalizeGradients, "scale each update to root mean square 1"),
        .init("correct_bias", \.correctBias, "Adam's bias correction"),
        .init("stagger", \.stagger, "spread the new bases over the period instead of all at one step"),
    ]

    public var renewal: Renewal? {
        Renewal(key: "precondition_frequency", interval: preconditionFrequency, isStaggered: stagger)
    }

    public func notices(shape: [Int], role: ParameterRole) -> [String] {
        guard case (nil, nil) = orders(shape) else { return [] }
        return ["max_precond_dim \(maxPreconditionerDimension) excludes both sides: runs as Adam"]
    }

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        let orders = orders(parameter.shape)
        return SOAPRule(
            settings: self,
            adam: Adam(state, shape: parameter.shape, betas: betas, eps: eps, epsFirst: true),
            left: orders.left.map { Preconditioner(state, side: "left", order: $0) },
            right: orders.right.map { Preconditioner(state, side: "right", order: $0) })
    }

    /// The dimensions of the sides that have a preconditioner.
    private func orders(_ shape: [Int]) -> (left: Int?, right: Int?) {
        let limit = maxPreconditionerDimension
        return (sides == .both && shape[0] <= limit ? shape[0] : nil, shape[1] <= limit ? shape[1] : nil)
    }
}

private struct SOAPRule: MatrixRule {
    let settings: SOAP
    let adam: Adam
    let left: Preconditioner?
    let right: Preconditioner?

    func flops(rows m: Int, columns n: Int, renewing: Bool) -> Int {
        [left, right].compactMap(\.self).reduce(12 * m * n) { sum, side in
            let n3 = side.order * side.order * side.order
            return sum + 5 * m * n * side.order + (renewing ? 6 * n3 + 4 * m * n * side.order : 0)
        }
    }

    struct Scratch {
        /// Only of the first call; the rest lies over it.
        let eigen: EigenScratch<Float>
        let update: Matrix<Float>
        let half: Matrix<Float>
        let power: PowerStepScratch
    }

    func scratch(_ arena: Arena, _ rows: Int, _ columns: Int) -> Scratch {
        let longest = max(left?.order ?? 1, right?.order ?? 1)
        return Scratch(
            eigen: arena.overlaid { EigenScratch(arena, order: longest) }, update: arena.matrix(rows, columns),
            half: arena.matrix(rows, columns),
            power: PowerStepScratch(arena, longest: longest, rows: rows, columns: columns))
    }

    func step(_ scratch: Scratch, _ context: StepContext) throws {
        let call = context.step - 1
        if call == 0 {
            averageGrams(context, decay: 0)
            try left?.setEigenbasis(scratch.eigen)
            try right?.setEigenbasis(scratch.eigen)
            return
        }
        let update = scratch.update
        rotate(context.gradient, into: update, inward: true, scratch, context.pool)
        let stepSize = adam.normalize(
            update, step: call, learningRate: context.learningRate, correctBias: settings.correctBias, on: context.pool)
        rotate(update, into: update, inward: false, scratch, context.pool)
        var scale = Double(stepSize)
        if settings.normalizeGradients {
            scale /= 1e-30 + update.frobeniusNorm(on: context.pool) / Double(update.count).squareRoot()
        }
        try context.apply(update, scale: scale)

        averageGrams(context, decay: settings.shampooBeta ?? settings.betas[1])
        if context.isRenewal { try renew(scratch, context.pool) }
    }

    /// L and R with this gradient; `decay` 0 forgets what they were.
    private func averageGrams(_ context: StepContext, decay: Double) {
        let weight = 1 - (settings.shampooBeta ?? settings.betas[1])
        left?.average(context.gradient.plain, weight: weight, decay: decay, on: context.pool)
        right?.average(context.gradient.transposed, weight: weight, decay: decay, on: context.pool)
    }

    /// Into the eigenbasis, Q_Lᵀ x Q_R, or back out of it, Q_L x Q_Rᵀ; a side that has no basis is left as
    /// it is. `x` may be `y`.
    private func rotate(_ x: Matrix<Float>, into y: Matrix<Float>, inward: Bool, _ scratch: Scratch, _ pool: WorkerPool)
    {
        if let basis = left?.basis.matrix {
            scratch.power.multiply(inward ? basis.plain : basis.transposed, x.plain, into: scratch.half, on: pool)
        } else {
            scratch.half.copy(from: x, on: pool)
        }
        if let basis = right?.basis.matrix {
            scratch.power.multiply(scratch.half.plain, inward ? basis.transposed : basis.plain, into: y, on: pool)
        } else {
            y.copy(from: scratch.half, on: pool)
        }
    }

    /// One power step on each side, v sorted with it, m carried over.
    private func renew(_ scratch: Scratch, _ pool: WorkerPool) throws {
        let (m, v, half) = (adam.m.matrix, adam.v.matrix, scratch.half)
        rotate(m, into: m, inward: false, scratch, pool)
        if let order = try left?.powerStep(scratch.power, on: pool) {
            half.copy(from: v, on: pool)
            for (row, old) in order.enumerated() { v.row(row).update(from: half.row(old), count: v.columns) }
        }
        if let order = try right?.powerStep(scratch.power, on: pool) {
            half.copy(from: v, on: pool)
            v.rowTiles.forEach(on: pool) { rows in
                for row in rows {
                    let (new, old) = (v.row(row), half.row(row))
                    for column in 0..<order.count { new[column] = old[order[column]] }
                }
            }
        }
        rotate(m, into: m, inward: true, scratch, pool)
    }
}
