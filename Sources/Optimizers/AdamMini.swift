import Configuration
import Glibc
import TensorCore

/// Adam-mini (Zhang et al. 2024): AdamW with one second moment for a whole block of a parameter.
///
///     v_b <- beta2 v_b + (1 - beta2) mean(G_b²)                  for each block b
///     W <- W - lr weight_decay W
///     m <- m + (1 - beta1)(G - m)
///     W_b <- W_b - lr m_b * (1 / (1 - beta1^t)) / ( sqrt(v_b) / sqrt(1 - beta2^t) + eps )
///
/// Blocks, after the reference's version 1.1.1, here by role and there by pieces of the name:
///
///     embedding, head                     a row, which is a token
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
public final class AdamMini: ElementwiseRule {
    public struct Hyperparameters: OptimizerHyperparameters {
        public var lr = 1e-3
        public var betas = [0.9, 0.999]
        public var eps = 1e-8
        public var weightDecay = 0.0
        public var wholeValueMatrix = false

        public init() {}

        public static var fields: [Field<Self>] {
            [
                .init("lr", \.lr, "learning rate; the authors advise AdamW's (default: reference)", .nonNegative),
                .init("betas", \.betas, "decay of the moments; the authors' LLaMA runs: [0.9, 0.95]", .betas),
                .init("eps", \.eps, "added to the root of the second moment", .positive),
                .init(
                    "weight_decay", \.weightDecay, "decoupled decay, norm gains excepted; LLaMA runs: 0.1", .nonNegative
                ),
                .init(
                    "whole_value_matrix", \.wholeValueMatrix,
                    "one second moment for all of a value projection; advised for fewer than 10000 steps"),
            ]
        }
    }

    public static let name = "adam_mini"
    public static let summary = "Adam-mini: one second moment for each head, neuron or token"
    public static let citation =
        "Zhang, Chen, Li et al.: Adam-mini: Use Fewer Learning Rates To Gain More, ICLR 2025, arXiv 2406.16793; "
        + "github.com/zyushun/Adam-mini 1.1.1"
    public static let stateFormula = "mn + m (mn + heads for query and key)"

    private let parameter: Parameter
    private let hyperparameters: Hyperparameters
    private let m: Tensor<Float>
    private let v: Tensor<Float>

    public init(parameter: Parameter, hyperparameters: Hyperparameters, position: RulePosition) {
        self.parameter = parameter
        self.hyperparameters = hyperparameters
        m = Tensor(parameter.shape)
        v = Tensor(Self.blockCount(parameter.shape, parameter.role, hyperparameters))
    }

    private static func blockCount(_ shape: [Int], _ role: ParameterRole, _ hyperparameters: Hyperparameters) -> Int {
        switch role {
        case .vector: return 1
        case .matrix(.value) where hyperparameters.wholeValueMatrix: return 1
        case .matrix(.query(let headDim)), .matrix(.key(let headDim)):
            precondition(shape[0] % headDim == 0, "\(shape[0]) rows are not whole heads of \(headDim)")
            return shape[0] / headDim
        case .embedding, .head, .matrix: return shape[0]
        }
    }

    public static func stateCount(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> Int {
        shape.reduce(1, *) + blockCount(shape, role, hyperparameters)
    }

    public var state: [NamedTensor] { [NamedTensor("exp_avg", m), NamedTensor("exp_avg_sq", v)] }

    public var unitCount: Int { v.count }

    public func step(units: Range<Int>, _ context: StepContext) throws {
        let (beta1, beta2) = (hyperparameters.betas[0], hyperparameters.betas[1])
        let correction1 = 1 - pow(beta1, Double(context.step))
        let correction2 = (1 - pow(beta2, Double(context.step))).squareRoot()
        let weightDecay = parameter.role == .vector ? 0 : hyperparameters.weightDecay
        let decay = Lanes(repeating: Float(1 - context.learningRate * weightDecay))
        let meanWeight = Lanes(repeating: Float(1 - beta1))
        let lr = Lanes(repeating: Float(context.learningRate))

        let size = parameter.count / v.count
        var difference = Lanes.zero
        for block in units {
            let g = parameter.gradient.data + block * size
            let (w, m) = (parameter.weight.data + block * size, m.data + block * size)
            let mean = sumOfSquares(g, count: size) / Double(size)
            v.data[block] = Float(beta2 * Double(v.data[block]) + (1 - beta2) * mean)
            let root = Double(v.data[block]).squareRoot() / correction2 + hyperparameters.eps
            let factor = Lanes(repeating: Float(1 / correction1 / root))
            forEachLanes(size) { i, count in
                let oldM = Float.load(m + i, count: count)
                let newM = (Float.load(g + i, count: count) - oldM).multiplyAdd(meanWeight, oldM)
                let newW = Float.load(w + i, count: count) * decay - lr * (newM * factor)
                Float.store(newM, m + i, count: count)
                Float.store(newW, w + i, count: count)
                // 0 for every finite number.
                difference += newW - newW
            }
        }
        guard difference.laneSum == 0 else { throw NumericalFailure("the updated weight is not finite") }
    }
}
