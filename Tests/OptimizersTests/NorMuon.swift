import Configuration
import Optimizers
import TensorCore

/// NorMuon (Li et al. 2025): Muon, with each row of the orthogonalized momentum divided by its second moment.
///
///     M <- mu M + (1 - mu) G
///     O = NewtonSchulz(M)                        with `nesterov`: of mu M + (1 - mu) G
///     v <- beta2 v + (1 - beta2) mean(O²)        a mean for each row
///     U = O / (sqrt(v) + eps)
///     W <- W - lr weight_decay W - lr 0.2 sqrt(mn) / |U| U
public struct NorMuon: OrthogonalizingOptimizer {
    public static let name = "normuon"
    public static let summary = "NorMuon: Muon with a second moment for each row"
    public static let citation =
        "Li, Liu, Liang, Chen, Zhao: NorMuon: Making Muon more efficient and scalable, 2025, arXiv 2510.05491"
    public static let stateFormula = "mn + m"

    public var lr = 3.6e-4
    public var momentum = 0.95
    public var nesterov = true
    public var beta2 = 0.95
    public var eps = 1e-8
    public var weightDecay = 0.1
    public var orthogonalization = Orthogonalization()
    public var adam: AdamSettings? = AdamSettings(lr: 3e-4, betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0.1)

    public init() {}

    public static let settings: [Field<Self>] =
        [
            .init("lr", \.lr, "learning rate of hidden matrices", .nonNegative),
            .init("momentum", \.momentum, "decay of the momentum", .range(0..<1)),
            .init("nesterov", \.nesterov, "look ahead: mix the gradient into the momentum once more"),
            .init("beta2", \.beta2, "decay of the rows' second moments", .range(0..<1)),
            .init("eps", \.eps, "added to their roots", .positive),
            .init("weight_decay", \.weightDecay, "decoupled decay: lr * weight_decay a step", .nonNegative),
        ] + Orthogonalization.fields.map { $0.within(\.orthogonalization) }

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        NorMuonRule(
            settings: self, newtonSchulz: orthogonalization.iteration,
            momentum: Momentum(state, shape: parameter.shape, mu: momentum, isNesterov: nesterov),
            secondMoment: state.tensor("second_moment", parameter.shape[0]))
    }
}

private struct NorMuonRule: MatrixRule {
    let settings: NorMuon
    let newtonSchulz: NewtonSchulz
    let momentum: Momentum
    let secondMoment: Tensor<Float>

    func flops(rows: Int, columns: Int, renewing: Bool) -> Int { newtonSchulz.flops(rows: rows, columns: columns) }

    func scratch(_ arena: Arena, _ m: Int, _ n: Int) -> (update: Matrix<Float>, newtonSchulz: NewtonSchulz.Scratch) {
        (arena.matrix(m, n), newtonSchulz.scratch(arena, rows: m, columns: n))
    }

    func step(_ scratch: Scratch, _ context: StepContext) throws {
        let o = scratch.update
        momentum.take(context, into: o)
        newtonSchulz.orthogonalize(o, scratch.newtonSchulz, on: context.pool)
        o.rowTiles.forEach(on: context.pool) { rows in
            for row in rows {
                let o = o.rows(row..<row + 1)
                let mean = sumOfSquares(o.base, count: o.count) / Double(o.count)
                let v = settings.beta2 * Double(secondMoment.data[row]) + (1 - settings.beta2) * mean
                secondMoment.data[row] = Float(v)
                let root = Float(v.squareRoot() + settings.eps)
                o.apply { $0 / root }
            }
        }
        let size = 0.2 * Double(o.count).squareRoot() / (o.frobeniusNorm(on: context.pool) + settings.eps)
        try context.apply(o, scale: context.learningRate * size)
    }
}
