import Configuration
import TensorCore

/// An optimizer: how one parameter is updated from its gradient, and what it remembers.
///
/// One instance owns the state of one parameter. To add an optimizer, write one file with a class
/// that conforms, and one row in `optimizerRules`; the configuration, `cosmos-train optimizers`, the
/// memory report, checkpoints and the conformance tests take it from there.
///
/// The steps of all parameters are counted in one place (`StepContext.step`), so a rule's tensors and
/// that number are all of its state.
public protocol OptimizerRule: AnyObject {
    associatedtype Hyperparameters: OptimizerHyperparameters

    /// The name in a configuration: "adam_mini".
    static var name: String { get }
    /// One line: the name as its authors write it, and the idea.
    static var summary: String { get }
    /// Authors, title, year, arXiv number; the reference code.
    static var citation: String { get }
    /// The scalars of state for an m x n matrix, as a formula: "mn + mr + nr + r²".
    static var stateFormula: String { get }
    /// The same as a number, for any parameter that the rule takes. Known before anything is allocated.
    static func stateCount(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> Int

    /// `position` is for rules that spread rare work over the steps.
    init(parameter: Parameter, hyperparameters: Hyperparameters, position: RulePosition)

    /// What the rule remembers from step to step, all zero before the first, in a fixed order.
    /// Checkpoints and memory reports know nothing else.
    var state: [NamedTensor] { get }

    /// The bytes that one `step` takes from the arena.
    var scratchByteCount: Int { get }

    /// Updates the weight. Reads the gradient and never writes it.
    ///
    /// Runs on one worker; must compute the same bits on any. Throws `NumericalFailure`.
    func step(_ context: StepContext) throws

    /// What a person should know before the run about the settings and this parameter: a rank that had to
    /// be reduced, a setting without effect. One line each, the same for parameters with the same trouble.
    static func notices(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> [String]

    /// The steps from one costly step (a new basis) to the next; 1: all cost the same. Those steps are 1,
    /// 1 + the interval, and so on.
    static func refreshInterval(_ hyperparameters: Hyperparameters) -> Int

    /// Whether the size of an update is the same for any gradient, so that clipping the gradient does
    /// not bound it.
    static var updateSizeIsFixed: Bool { get }
}

extension OptimizerRule {
    public var scratchByteCount: Int { 0 }
    public static func notices(shape: [Int], role: ParameterRole, hyperparameters: Hyperparameters) -> [String] { [] }
    public static func refreshInterval(_ hyperparameters: Hyperparameters) -> Int { 1 }
    public static var updateSizeIsFixed: Bool { false }
}

/// A rule whose parameter falls into units that are updated apart: elements, rows, heads. Several
/// workers may then share one parameter.
public protocol ElementwiseRule: OptimizerRule {
    var unitCount: Int { get }
    /// Updates some units; the other calls of the step do the rest.
    func step(units: Range<Int>, _ context: StepContext) throws
}

extension ElementwiseRule {
    public func step(_ context: StepContext) throws { try step(units: 0..<unitCount, context) }
}

/// The settings of an optimizer, under the names of its paper or reference code.
public protocol OptimizerHyperparameters: ConfigurationSection {
    /// The learning rate, before the schedule.
    var lr: Double { get }
    /// What AdamW runs with on embedding, head and norm gains; nil where the rule takes these itself.
    var auxiliary: AdamW.Hyperparameters? { get }
    /// Whether the step needs a CPU with bfloat16 products.
    var usesBFloat16: Bool { get }
    /// Sets defaults that depend on the precision that the model trains in.
    mutating func setDefaults(forBFloat16Training: Bool)
}

extension OptimizerHyperparameters {
    public var usesBFloat16: Bool { false }
    public mutating func setDefaults(forBFloat16Training: Bool) {}
    public var auxiliary: AdamW.Hyperparameters? { nil }
}

/// The place of a parameter among those that the same rule takes, in the model's order.
public struct RulePosition: Sendable {
    public let index: Int
    public let count: Int

    public init(index: Int, count: Int) {
        self.index = index
        self.count = count
    }

    /// The only one.
    public static let alone = RulePosition(index: 0, count: 1)

    /// This parameter's share of a period, 0 ..< `period`: positions are spread evenly over it.
    public func offset(inPeriod period: Int) -> Int { index * period / count }
}

/// What a rule is told of the step.
public struct StepContext {
    /// The number of this step, from 1. The same for every parameter.
    public let step: Int
    /// The rule's learning rate with the schedule applied.
    public let learningRate: Double
    /// Scratch memory that nobody else uses meanwhile, of `scratchByteCount` bytes or more, all free.
    public let arena: Arena
    /// Its idle workers help with the products and passes that are given it.
    public let pool: WorkerPool

    public init(step: Int, learningRate: Double, arena: Arena, pool: WorkerPool) {
        self.step = step
        self.learningRate = learningRate
        self.arena = arena
        self.pool = pool
    }
}
