import Configuration
import TensorCore

/// An optimizer as it stands in a configuration: its settings, under the names of its paper or reference code, and
/// the rule that they make for a parameter.
///
/// To add an optimizer, write one file with a struct that conforms and its rule, and one row in `optimizers`; the
/// configuration, `cosmos-train optimizers`, the memory plan, checkpoints and the conformance tests take it from there.
public protocol OptimizerSettings: ConfigurationSection {
    /// The name in a configuration: "adam_mini".
    static var name: String { get }
    /// One line: the name as its authors write it, and the idea.
    static var summary: String { get }
    /// Authors, title, year, arXiv number; the reference code.
    static var citation: String { get }
    /// The scalars of state for an m x n matrix, as a formula: "mn + mr + nr + r²". A test evaluates it.
    static var stateFormula: String { get }
    /// Every setting but `adam`, with its default, range and help.
    static var settings: [Field<Self>] { get }

    /// The learning rate, before the schedule.
    var lr: Double { get set }
    /// Decoupled decay: a step multiplies the weight by 1 - lr * weight_decay.
    var weightDecay: Double { get set }
    /// What AdamW runs with on embedding, lm_head and norm gains; nil: the optimizer takes these itself.
    var adam: AdamSettings? { get set }

    /// The rule of one parameter, whose state it declares.
    func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule

    // What few optimizers differ in.

    /// Whether the decay comes after the update is subtracted, rather than before.
    static var decayFollowsUpdate: Bool { get }
    /// Whether the size of an update is the same for any gradient, so that clipping the gradient does
    /// not bound it.
    static var updateSizeIsFixed: Bool { get }
    func weightDecay(of role: ParameterRole) -> Double
    /// When bases are made anew; nil: all steps are alike.
    var renewal: Renewal? { get }
    /// Whether the step needs a CPU with bfloat16 products.
    var usesBFloat16: Bool { get }
    /// Sets defaults that depend on the precision that the model trains in.
    mutating func setDefaults(forBFloat16Training: Bool)
    /// What a person should know before the run about the settings and this parameter: a rank that had to
    /// be reduced, a setting without effect. One line each, the same for parameters with the same trouble.
    func notices(shape: [Int], role: ParameterRole) -> [String]
}

extension OptimizerSettings {
    public static var fields: [Field<Self>] {
        settings + [
            .optionalSection(
                "adam", \.adam,
                "AdamW on embedding, lm_head and norm gains"
                    + (Self().adam == nil ? "; null: \(Self.name) takes these itself" : "; null: its defaults"))
        ]
    }

    public static var decayFollowsUpdate: Bool { false }
    public static var updateSizeIsFixed: Bool { false }
    public func weightDecay(of role: ParameterRole) -> Double { weightDecay }
    public var renewal: Renewal? { nil }
    public var usesBFloat16: Bool { false }
    public mutating func setDefaults(forBFloat16Training: Bool) {}
    public func notices(shape: [Int], role: ParameterRole) -> [String] { [] }
}

extension Check where Value == [Double] {
    public static var betas: Self { .each(.range(0..<1), count: 2) }
}
