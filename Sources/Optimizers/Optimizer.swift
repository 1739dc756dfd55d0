import Synchronization
import TensorCore

/// The optimizer of a whole model: a rule for every parameter, stepped over a pool of workers.
///
/// Matrices are stepped a few at a time, as many as their scratch memory allows, the costliest first; idle workers
/// take tasks of their products and passes. Rules whose parameter falls into units are cut into tasks of fixed size.
/// Nothing depends on which worker does what or on how much is done at once, so the result is the same for any
/// number of workers. All memory is allocated here.
public final class Optimizer {
    public struct Slot {
        public let parameter: Parameter
        /// The optimizer whose rule it is: AdamW for the embedding of a model under Muon.
        let settings: any OptimizerSettings
        let rule: any OptimizerRule
        /// The state, without the parameter's name.
        public let state: [NamedTensor]
        /// The parameter's place among those with the same rule.
        let index: Int
        let count: Int

        public var ruleName: String { type(of: settings).name }
        /// The learning rate of its rule, before the schedule.
        public var learningRate: Double { settings.lr }
        public var stateByteCount: Int { state.reduce(0) { $0 + $1.tensor.byteCount } }

        /// Whether a step takes it as a whole, never by its rows.
        var isWhole: Bool { rule.scratchByteCount(for: parameter) > 0 }

        func isRenewal(at step: Int) -> Bool { settings.renewal?.isDue(at: step, index: index, of: count) ?? false }

        public func flops(atStep step: Int) -> Int { flops(renewing: isRenewal(at: step)) }

        private func flops(renewing: Bool) -> Int {
            let matrix = parameter.values.matrix
            return rule.flops(rows: matrix.rows, columns: matrix.columns, renewing: renewing)
        }

        /// Of a step, renewals with their share.
        public var meanFLOPs: Double {
            let ordinary = Double(flops(renewing: false))
            guard let renewal = settings.renewal else { return ordinary }
            return ordinary + (Double(flops(renewing: true)) - ordinary) / Double(renewal.interval)
        }
    }

    /// The scratch memory that a step may take, unless told otherwise.
    public static let defaultScratchBudget = 256 << 20

    public let configuration: OptimizerConfiguration
    /// Of what this one steps, in the order of the model's parameters.
    public let slots: [Slot]
    /// The steps made so far. With the tensors of `state`, all that a checkpoint needs.
    public var stepCount = 0

    public var scratchByteCount: Int { workspace.byteCount }

    private let pool: WorkerPool
    /// An arena for each matrix that is stepped at the same time.
    private let workspace: Workspace
    private let arenaCount: Int
    /// Matrices that as many workers as there may be step at the same time.
    package let matricesAtOnce: Int
    package static let phase: StaticString = "optimizer"
    private let noScratch = Arena(byteCount: 0)
    /// The slots that need scratch memory.
    package let matrices: [Int]
    /// Units of the others, the largest tasks first.
    private let tasks: [(slot: Int, units: Range<Int>)]

    /// `pieces`: what this one steps, where others step the rest of the parameters. `scratchBudget`: matrices are stepped
    /// at the same time as long as their scratch takes no more bytes, but one always is. `taskSize`: the elements that a
    /// worker takes at a time where a parameter falls into units.
    public init(
        _ configuration: OptimizerConfiguration, parameters: [Parameter], pieces: [Ownership.Piece]? = nil,
        pool: WorkerPool, scratchBudget: Int = defaultScratchBudget, taskSize: Int = 1 << 17
    ) {
        self.configuration = configuration
        self.pool = pool
        let names = parameters.map { type(of: configuration.settings(for: $0.role)).name }
        let stepped = pieces?.map { ($0.index, $0.parameter) } ?? Array(parameters.enumerated())
        let slots = stepped.map { index, parameter in
            let settings = configuration.settings(for: parameter.role)
            let state = StateDeclaration()
            let rule = settings.rule(for: parameter, state)
            return Slot(
                parameter: parameter, settings: settings, rule: rule, state: state.tensors,
                index: names[..<index].count { $0 == names[index] }, count: names.count { $0 == names[index] })
        }
        self.slots = slots
        let scratch = slots.map { $0.rule.scratchByteCount(for: $0.parameter) }
        matrices = slots.indices.filter { scratch[$0] > 0 }
        let largest = scratch.max() ?? 0
        matricesAtOnce = min(max(1, scratchBudget / max(1, largest)), matrices.count)
        arenaCount = min(matricesAtOnce, pool.workerCount)
        workspace = Workspace(workers: arenaCount) { _ = $0.array(largest, of: UInt8.self) }
        tasks = slots.indices.filter { scratch[$0] == 0 }.flatMap { index in
            let units = slots[index].rule.unitCount(of: slots[index].parameter)
            let size = slots[index].parameter.count / units
            return ranges(of: units, size: max(1, taskSize / size)).map { (index, $0, $0.count * size) }
        }.sorted { $0.2 > $1.2 }.map { ($0.0, $0.1) }
    }

    /// Updates every parameter from its gradient. `learningRateFactor`, from the schedule, scales the
    /// learning rate of every rule.
    ///
    /// Throws `NumericalError`, naming the parameter, where a value is not finite or a factorization
    /// does not converge. Parameters may then have been updated or not.
    public func step(learningRateFactor: Double) throws {
        stepCount += 1
        try update(slots.map(\.parameter), learningRateFactor: learningRateFactor)
    }

    /// A part of the step that `stepCount` counts: updates some of the parameters, to the same bits.
    public func update(_ parameters: [Parameter], learningRateFactor: Double) throws {
        let updated = Set(parameters.map(ObjectIdentifier.init))
        func isUpdated(_ slot: Int) -> Bool { updated.contains(ObjectIdentifier(slots[slot].parameter)) }
        let order = matrices.filter(isUpdated).map { (slot: $0, cost: slots[$0].flops(atStep: stepCount)) }
            .sorted { ($1.cost, $0.slot) < ($0.cost, $1.slot) }
        let tasks = tasks.filter { isUpdated($0.slot) }
        let next = Atomic<Int>(0)
        // Where several parameters fail, the first one is reported, whichever worker fails first.
        let failure = Mutex<(slot: Int, what: NumericalFailure)?>(nil)
        func run(_ slot: Int, _ units: Range<Int>, _ arena: Arena) throws {
            do {
                let context = StepContext(
                    slots[slot], step: stepCount, learningRateFactor: learningRateFactor, pool: pool)
                try slots[slot].rule.update(units: units, context, arena)
            } catch let what as NumericalFailure {
                failure.withLock { if slot < $0?.slot ?? .max { $0 = (slot, what) } }
            }
        }
        // One worker is recorded for what many would make of its work: each matrix by itself.
        let first = pool.recorder == nil ? arenaCount : order.count
        try pool.forEach(first + tasks.count, phase: Self.phase, cancellation: nil) { number, _ in
            guard number < first else {
                let task = tasks[number - first]
                return try run(task.slot, task.units, noScratch)
            }
            if pool.recorder != nil { return try run(order[number].slot, 0..<1, workspace.arena(of: 0)) }
            while true {
                let place = next.add(1, ordering: .relaxed).oldValue
                guard place < order.count else { return }
                try run(order[place].slot, 0..<1, workspace.arena(of: number))
            }
        }
        if let (slot, failure) = failure.withLock({ $0 }) {
            throw NumericalError(failure.what, tensor: slots[slot].parameter.name)
        }
    }

    /// Every tensor of state, named "<parameter>.<state>", in a fixed order.
    public var state: [NamedTensor] {
        slots.flatMap { slot in slot.state.map { NamedTensor("\(slot.parameter.name).\($0.name)", $0.tensor) } }
    }

    public var stateByteCount: Int { slots.reduce(0) { $0 + $1.stateByteCount } }
}
