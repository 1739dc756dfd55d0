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
public struct AdamW: OptimizerSettings {
    public static let name = "adamw"
    public static let summary = "AdamW: Adam with decoupled weight decay, as in PyTorch"
    public static let citation =
        "Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019, arXiv 1711.05101; torch.optim.AdamW"
    public static let stateFormula = "2mn"

    /// The settings of every parameter for which `adam` gives no others.
    public var own = AdamSettings()
    public var adam: AdamSettings?

    public init() {}
    public init(_ own: AdamSettings) { self.own = own }

    public static let settings = AdamSettings.fields.map { $0.within(\AdamW.own) }

    public var lr: Double {
        get { own.lr }
        set { own.lr = newValue }
    }
    public var weightDecay: Double {
        get { own.weightDecay }
        set { own.weightDecay = newValue }
    }

    public func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
        Adam(state, shape: parameter.shape, betas: own.betas, eps: own.eps)
    }
}

/// AdamW's settings; in every optimizer the section `adam`, for what it leaves to AdamW.
public struct AdamSettings: ConfigurationSection {
    public var lr = 1e-3
    public var betas = [0.9, 0.999]
    public var eps = 1e-8
    public var weightDecay = 0.01

    public init() {}

    public init(lr: Double, betas: [Double], eps: Double, weightDecay: Double) {
        (self.lr, self.betas, self.eps, self.weightDecay) = (lr, betas, eps, weightDecay)
    }

    public static let fields: [Field<Self>] = [
        .init("lr", \.lr, "learning rate", .nonNegative),
        .init("betas", \.betas, "decay of the first and second moment", .betas),
        .init("eps", \.eps, "added to the root of the second moment", .positive),
        .init("weight_decay", \.weightDecay, "decoupled decay: lr * weight_decay a step", .nonNegative),
    ]
}
