import TensorCore

/// How one parameter is updated from its gradient, and what is remembered of it: the state, declared by whoever
/// makes the rule (`OptimizerSettings.rule`), and the equations of a step.
///
/// A rule is an `ElementwiseRule` or a `MatrixRule`. The requirements here are what `Optimizer` asks of both;
/// all but the FLOPs come from those two.
public protocol OptimizerRule {
    /// The FLOPs of an ordinary step, or of one that makes a basis anew (`Renewal`).
    func flops(rows: Int, columns: Int, renewing: Bool) -> Int
    /// The units into which the parameter falls: workers may share them. 1: it is updated as a whole.
    func unitCount(of parameter: Parameter) -> Int
    /// The bytes that a step takes from an arena.
    func scratchByteCount(for parameter: Parameter) -> Int
    /// Makes the step for some of the units; other calls of the same step do the rest.
    func update(units: Range<Int>, _ context: StepContext, _ scratch: Arena) throws
}

/// A rule by elements, or by units of a parameter that are updated apart: rows, heads.
///
/// Offsets, decay and the check for values that are not finite are not its business: see `Elements.update`.
public protocol ElementwiseRule: OptimizerRule {
    /// Throws `NumericalFailure`. Runs on one worker; must compute the same bits on any.
    func step(_ elements: Elements, _ context: StepContext) throws
}

extension ElementwiseRule {
    /// A matrix falls into rows.
    public func unitCount(of parameter: Parameter) -> Int { parameter.values.matrix.rows }
    /// About a dozen FLOPs an element; time is that of memory.
    public func flops(rows: Int, columns: Int, renewing: Bool) -> Int { 12 * rows * columns }
    public func scratchByteCount(for parameter: Parameter) -> Int { 0 }

    public func update(units: Range<Int>, _ context: StepContext, _ scratch: Arena) throws {
        let size = context.parameter.count / unitCount(of: context.parameter)
        try step(Elements(units: units, size: size, context), context)
    }
}

/// A rule for a matrix as a whole. Its text is sequential mathematics; the products and passes that it calls
/// are cut into tasks, which idle workers take (`StepContext.pool`).
public protocol MatrixRule: OptimizerRule {
    /// What a step needs and does not keep. `scratch` takes it from an arena, for a matrix of so many rows and
    /// columns; how much memory that is follows.
    associatedtype Scratch
    func scratch(_ arena: Arena, _ rows: Int, _ columns: Int) -> Scratch

    /// Reads `context.gradient` and ends with `context.apply`. Throws `NumericalFailure`.
    func step(_ scratch: Scratch, _ context: StepContext) throws
}

extension MatrixRule {
    public func unitCount(of parameter: Parameter) -> Int { 1 }
    public func scratchByteCount(for parameter: Parameter) -> Int {
        let matrix = parameter.values.matrix
        return Arena.byteCount { _ = scratch($0, matrix.rows, matrix.columns) }
    }

    public func update(units: Range<Int>, _ context: StepContext, _ scratch: Arena) throws {
        try step(self.scratch(scratch, context.rows, context.columns), context)
    }
}

/// Where a rule declares its state: each tensor by its name, once. Sizes, the memory plan and checkpoints follow.
///
/// The steps of all parameters are counted in one place (`StepContext.step`), so the tensors and that number are
/// all that is remembered. Within `withoutMemory` the same declaration only counts.
public final class StateDeclaration {
    public private(set) var tensors: [NamedTensor] = []

    public init() {}

    /// Zero before the first step.
    public func tensor(_ name: String, _ shape: [Int]) -> Tensor<Float> {
        require(!tensors.contains { $0.name == name }, "two tensors of state are called \(name)")
        let tensor = Tensor<Float>(shape)
        tensors.append(NamedTensor(name, tensor))
        return tensor
    }

    public func tensor(_ name: String, _ shape: Int...) -> Tensor<Float> { tensor(name, shape) }
}

/// When a basis is made anew: at step 1, and then once in `interval` steps.
public struct Renewal: Sendable {
    /// The setting that is the interval.
    let key: String
    let interval: Int
    /// Parameters take turns instead of all at one step.
    let isStaggered: Bool

    /// `index` is the parameter's place among the `count` that the same rule takes.
    func isDue(at step: Int, index: Int, of count: Int) -> Bool {
        step == 1 || (step - 1 + (isStaggered ? index * interval / count : 0)) % interval == 0
    }

    var notices: [String] {
        isStaggered && interval == 1 ? ["stagger has no effect: \(key) 1 makes every basis at every step"] : []
    }
}
