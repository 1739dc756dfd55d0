import Configuration
import Optimizers
import TensorCore

/// Lion (Chen et al. 2023): the sign of a momentum that is mixed with the gradient once more.
///
///     C = beta1 M + (1 - beta1) G
///     W <- W - lr weight_decay W - lr sign(C)
///     M <- beta2 M + (1 - beta2) G
///
/// **Cost.** mn scalars of state; one pass, 20 bytes an element.
public struct Lion: OptimizerSettings {
    public static let name = "lion"
    public static let summary = "Lion: the sign of a momentum"
    public static let citation =
        "Chen, Liang, Huang et al.: Symbolic Discovery of Optimization Algorithms, NeurIPS 2023, arXiv 2302.06675"
    public static let stateFormula = "mn"
    public static let updateSizeIsFixed = true

    public var lr = 1e-4
    public var betas = [0.9, 0.99]
    public var weightDecay = 0.0
    public var adam: AdamSettings?

    public init() {}

    public static let settings: [Field<Self>] = [
        .init("lr", \.lr, "learning rate; a third to a tenth of AdamW's (default: reference)", .nonNegative),
        .init("betas", \.betas, "mix of the momentum in the update; its decay (default: paper)", .betas),
        .init("weight_decay", \.weightDecay, "decoupled decay; three to ten times AdamW's", .nonNegative),
    ]

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        LionRule(settings: self, momentum: state.tensor("momentum", parameter.shape))
    }
}

private struct LionRule: ElementwiseRule {
    let settings: Lion
    let momentum: Tensor<Float>

    func step(_ elements: Elements, _ context: StepContext) throws {
        let lr = Float(context.learningRate)
        let weights = settings.betas.map { Float(1 - $0) }
        try elements.update(momentum) { g, _, m in
            let mixed = (g - m) * weights[0] + m
            m = (g - m) * weights[1] + m
            return lr * mixed.signs
        }
    }
}
