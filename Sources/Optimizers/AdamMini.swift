import Configuration
import Glibc
import TensorCore

/// Adam-mini (Zhang et al. 2024): AdamW with one second moment for a whole block of a parameter (the paper's word; no
/// transformer block).
///
///     v_b <- beta2 v_b + (1 - beta2) mean(G_b²)                  for each block b
///     W <- W - lr weight_decay W
///     m <- m + (1 - beta1)(G - m)
///     W_b <- W_b - lr m_b * (1 / (1 - beta1^t)) / ( sqrt(v_b) / sqrt(1 - beta2^t) + eps )
///
/// Blocks, after the reference's version 1.1.1, here by role and there by pieces of the name:
///
///     embedding, lm_head                     a row, which is a token
///     query and key projection            a head: `headDim` rows
///     value and output projection, MLP    a row, which is an output neuron
///     value projection, `whole_value_matrix`    the whole matrix (the reference's `wv_names = {}`)
///     norm gain                           the whole vector, without decay
///
/// W, G, m: m x n; v: one scalar a block.
///
/// **Numerics.** eps after the bias correction, as in AdamW. The mean of squares is summed in float
/// within 4096 elements and in double beyond.
///
/// **Cost.** mn + blocks scalars of state; two passes over a block's gradient, one over the rest.
///
/// **Beside the reference.** It takes any tensor that it does not know by name as one block; here roles
/// leave none unknown. It has a rule for biases (plain Adam); this model has none.
public struct AdamMini: OptimizerSettings {
    public static let name = "adam_mini"
    public static let summary = "Adam-mini: one second moment for each head, neuron or token"
    public static let citation =
        "Zhang, Chen, Li et al.: Adam-mini: Use Fewer Learning Rates To Gain More, ICLR 2025, arXiv 2406.16793; "
        + "github.com/zyushun/Adam-mini 1.1.1"
    public static let stateFormula = "mn + m (mn + heads for query and key)"

    public var lr = 1e-3
    public var betas = [0.9, 0.999]
    public var eps = 1e-8
    public var weightDecay = 0.0
    public var wholeValueMatrix = false
    public var adam: AdamSettings?

    public init() {}

    public static let settings: [Field<Self>] = [
        .init("lr", \.lr, "learning rate; the authors advise AdamW's (default: reference)", .nonNegative),
        .init("betas", \.betas, "decay of the moments; the authors' LLaMA runs: [0.9, 0.95]", .betas),
        .init("eps", \.eps, "added to the root of the second moment", .positive),
        .init("weight_decay", \.weightDecay, "decoupled decay, norm gains excepted; LLaMA runs: 0.1", .nonNegative),
        .init(
            "whole_value_matrix", \.wholeValueMatrix,
            "one second moment for all of a value projection; advised for fewer than 10000 steps"),
    ]

    public func weightDecay(of role: ParameterRole) -> Double { role == .vector ? 0 : weightDecay }

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        AdamMiniRule(
            settings: self, m: state.tensor("exp_avg", parameter.shape),
            v: state.tensor("exp_avg_sq", blockCount(parameter.shape, parameter.role)))
    }

    private func blockCount(_ shape: [Int], _ role: ParameterRole) -> Int {
        switch role {
        case .vector: return 1
        case .matrix(.value) where wholeValueMatrix: return 1
        case .matrix(.query(let headDim)), .matrix(.key(let headDim)):
            require(shape[0] % headDim == 0, "\(shape[0]) rows are not whole heads of \(headDim)")
            return shape[0] / headDim
        case .embedding, .lmHead, .matrix: return shape[0]
        }
    }
}

private struct AdamMiniRule: ElementwiseRule {
    let settings: AdamMini
    let m: Tensor<Float>
    /// One a block.
    let v: Tensor<Float>

    func unitCount(of parameter: Parameter) -> Int { v.count }

    func step(_ elements: Elements, _ context: StepContext) throws {
        let (beta1, beta2) = (settings.betas[0], settings.betas[1])
        let correction1 = 1 - pow(beta1, Double(context.step))
        let correction2 = (1 - pow(beta2, Double(context.step))).squareRoot()
        let meanWeight = Lanes(repeating: Float(1 - beta1))
        let lr = Lanes(repeating: Float(context.learningRate))
        for (block, elements) in elements.eachUnit {
            v.data[block] = Float(beta2 * Double(v.data[block]) + (1 - beta2) * elements.meanSquareOfGradient)
            let root = Double(v.data[block]).squareRoot() / correction2 + settings.eps
            let factor = Lanes(repeating: Float(1 / correction1 / root))
            try elements.update(m) { g, _, m in
                m = (g - m).multiplyAdd(meanWeight, m)
                return lr * (m * factor)
            }
        }
    }
}
