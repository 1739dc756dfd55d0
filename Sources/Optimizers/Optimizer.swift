import TensorCore

/// The optimizer of a whole model: a rule for every parameter, stepped over a pool of workers.
///
/// A parameter is worked on by one worker at a time, the costliest first; rules whose parameter
/// falls into units are cut into blocks of fixed size, which fill the gaps. Nothing depends on which
/// worker does what, so the result is the same for any number of them. All memory is allocated here.
public final class Optimizer {
    /// One parameter with its rule.
    public struct Slot {
        public let parameter: Parameter
        /// The name of its rule: "adamw" for the embedding of a model under "muon".
        public let ruleName: String
        /// The learning rate of its rule, before the schedule.
        public let learningRate: Double
        let rule: any OptimizerRule

        /// The state, without the parameter's name.
        public var state: [NamedTensor] { rule.state }
        public var stateByteCount: Int { rule.state.reduce(0) { $0 + $1.tensor.byteCount } }
    }

    /// A whole parameter, or some units of it.
    private struct Job {
        let slot: Int
        let units: Range<Int>?
        let cost: Int
    }

    public let configuration: OptimizerConfiguration
    /// In the order of the model's parameters.
    public let slots: [Slot]
    /// The steps made so far. With the tensors of `state`, all that a checkpoint needs.
    public var stepCount = 0

    /// The bytes of all workers' scratch memory.
    public var scratchByteCount: Int { workspace.byteCount }

    private let pool: WorkerPool
    private let workspace: Workspace
    private let jobs: [Job]

    /// The elements of a parameter that a worker takes at a time where it may.
    private static let blockSize = 1 << 18

    public init(_ configuration: OptimizerConfiguration, parameters: [Parameter], pool: WorkerPool) {
        self.configuration = configuration
        self.pool = pool
        let assignments = parameters.map { configuration.assignment($0.role) }
        let slots = zip(parameters, assignments).enumerated().map { index, pair in
            let (parameter, assignment) = pair
            let peers = assignments.map(\.name)
            let position = RulePosition(
                index: peers[..<index].count { $0 == assignment.name },
                count: peers.count { $0 == assignment.name })
            return Slot(
                parameter: parameter, ruleName: assignment.name, learningRate: assignment.learningRate,
                rule: configuration.makeRule(for: parameter, at: position))
        }
        self.slots = slots
        let scratch = slots.map(\.rule.scratchByteCount).max() ?? 0
        workspace = Workspace(workers: pool.workerCount) { _ = $0.array(scratch, of: UInt8.self) }
        jobs = slots.indices.flatMap { Optimizer.jobs(of: slots[$0], at: $0) }.enumerated()
            .sorted { ($1.element.cost, $0.offset) < ($0.element.cost, $1.offset) }.map(\.element)
    }

    private static func jobs(of slot: Slot, at index: Int) -> [Job] {
        let parameter = slot.parameter
        guard let rule = slot.rule as? any ElementwiseRule, rule.unitCount > 1 else {
            // Matrix products: all elements, times the smaller dimension.
            let depth = slot.rule is any ElementwiseRule ? 1 : parameter.shape.min() ?? 1
            return [Job(slot: index, units: nil, cost: parameter.count * depth)]
        }
        let unitSize = parameter.count / rule.unitCount
        let step = max(1, blockSize / unitSize)
        return stride(from: 0, to: rule.unitCount, by: step).map {
            let units = $0..<min($0 + step, rule.unitCount)
            return Job(slot: index, units: units, cost: units.count * unitSize)
        }
    }

    /// Updates every parameter from its gradient. `learningRateFactor`, from the schedule, scales the
    /// learning rate of every rule.
    ///
    /// Throws `NumericalError`, naming the parameter, where a value is not finite or a factorization
    /// does not converge. Parameters may then have been updated or not.
    public func step(learningRateFactor: Double) throws {
        stepCount += 1
        try pool.forEach(jobs.count, cancellation: nil) { number, worker in
            let job = jobs[number]
            let slot = slots[job.slot]
            let context = StepContext(
                step: stepCount, learningRate: slot.learningRate * learningRateFactor,
                arena: workspace.arena(of: worker), pool: pool)
            do {
                if let units = job.units, let rule = slot.rule as? any ElementwiseRule {
                    try rule.step(units: units, context)
                } else {
                    try slot.rule.step(context)
                }
            } catch let failure as NumericalFailure {
                throw NumericalError(failure.what, tensor: slot.parameter.name)
            }
        }
    }

    /// Every tensor of state, named "<parameter>.<state>", in a fixed order.
    public var state: [NamedTensor] {
        slots.flatMap { slot in slot.state.map { NamedTensor("\(slot.parameter.name).\($0.name)", $0.tensor) } }
    }

    /// The bytes of all state.
    public var stateByteCount: Int { slots.reduce(0) { $0 + $1.stateByteCount } }
}
