import Configuration
import TensorCore

/// AdamW (Loshchilov and Hutter 2019), with the semantics of `torch.optim.AdamW`.
///
///     W <- W - lr weight_decay W
///     m <- m + (1 - beta1)(G - m)                       v <- beta2 v + (1 - beta2) G²
///     W <- W - lr / (1 - beta1^t) * m / ( sqrt(v) / sqrt(1 - beta2^t) + eps )
///
/// G, W, m, v have one shape; t counts the steps from 1.
///
/// **Numerics.** eps is added after the bias correction. Every scalar is computed in double precision
/// and rounded once. The decay comes first and takes this step's lr; a step with lr 0 still moves m, v.
///
/// **Cost.** 2mn scalars of state; one pass, 28 bytes an element, bound by memory.
public final class AdamW: ElementwiseRule {
    public struct Hyperparameters: OptimizerHyperparameters {
        public var lr = 1e-3
        public var betas = [0.9, 0.999]
        public var eps = 1e-8
        public var weightDecay = 0.01

        public init() {}

        public init(lr: Double, betas: [Double], eps: Double, weightDecay: Double) {
            (self.lr, self.betas, self.eps, self.weightDecay) = (lr, betas, eps, weightDecay)
        }

        public static var fields: [Field<Self>] {
            [
                .init("lr", \.lr, "learning rate", .nonNegative),
                .init("betas", \.betas, "decay of the first and second moment", .betas),
                .init("eps", \.eps, "added to the root of the second moment", .positive),
                .init("weight_decay", \.weightDecay, "decoupled decay: lr * weight_decay a step", .nonNegative),
            ]
        }
    }

    public static let name = "adamw"
    public static let summary = "AdamW: Adam with decoupled weight decay, as in PyTorch"
    public static let citation =
        "Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019, arXiv 1711.05101; torch.optim.AdamW"
    public static let stateFormula = "2mn"

    private let parameter: Parameter
    private let hyperparameters: Hyperparameters
    private let m: Tensor<Float>
    private let v: Tensor<Float>

    public init(parameter: Parameter, hyperparameters: Hyperparameters, position: RulePosition) {
        self.parameter = parameter
        self.hyperparameters = hyperparameters
        m = Tensor(parameter.shape)
        v = Tensor(parameter.shape)
    }

    public static func stateCount(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> Int {
        2 * shape.reduce(1, *)
    }

    public var state: [NamedTensor] { [NamedTensor("exp_avg", m), NamedTensor("exp_avg_sq", v)] }

    public var unitCount: Int { parameter.weight.matrix.rows }

    public func step(units: Range<Int>, _ context: StepContext) throws {
        let adam = AdamStep(
            betas: hyperparameters.betas, eps: hyperparameters.eps, step: context.step,
            learningRate: context.learningRate, weightDecay: hyperparameters.weightDecay)
        let columns = parameter.weight.matrix.columns
        let offset = units.lowerBound * columns
        try adam.update(
            parameter.weight.data + offset, parameter.gradient.data + offset, m: m.data + offset,
            v: v.data + offset, count: units.count * columns)
    }
}

extension Check where Value == [Double] {
    /// Two decay rates.
    static var betas: Self { .each(.range(0..<1), count: 2) }
}
