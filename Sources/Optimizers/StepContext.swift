import TensorCore

/// A step of one parameter: what a rule is told, and how it changes the weight.
public struct StepContext {
    /// The number of this step, from 1. The same for every parameter.
    public let step: Int
    /// The rule's learning rate with the schedule applied.
    public let learningRate: Double
    /// Whether this step renews what is renewed now and then. Always so at step 1.
    public let isRenewal: Bool
    /// Whose idle workers share the products and passes of a matrix.
    public let pool: WorkerPool
    let parameter: Parameter
    /// Factors of the weight, before and after the update is subtracted; one of them is 1.
    @usableFromInline let decayBefore: Double
    @usableFromInline let decayAfter: Double

    init(_ slot: Optimizer.Slot, step: Int, learningRateFactor: Double, pool: WorkerPool) {
        (self.step, self.pool, parameter, isRenewal) = (step, pool, slot.parameter, slot.isRenewal(at: step))
        learningRate = slot.learningRate * learningRateFactor
        let decay = 1 - learningRate * slot.settings.weightDecay(of: parameter.role)
        (decayBefore, decayAfter) = type(of: slot.settings).decayFollowsUpdate ? (1, decay) : (decay, 1)
    }

    /// Read, never written.
    public var gradient: Matrix<Float> { parameter.gradient.matrix }
    public var rows: Int { gradient.rows }
    public var columns: Int { gradient.columns }

    /// The last act of a matrix rule: W <- W - scale update, and the decoupled decay, before or after.
    ///
    /// Throws `NumericalFailure` if a new weight is not finite.
    public func apply(_ update: Matrix<Float>, scale: Double) throws {
        let decay = Lanes(repeating: Float(decayBefore * decayAfter))
        // A decay that follows the update shrinks it, too.
        let scale = Lanes(repeating: Float(scale * decayAfter))
        let weight = parameter.weight.matrix
        let difference = weight.rowBlocks.sum(on: pool) { rows in
            var difference = Lanes.zero
            weight.rows(rows).combine(with: update.rows(rows)) { weight, update in
                let new = weight * decay - update * scale
                // 0 for every finite number.
                difference += new - new
                return new
            }
            return Double(difference.laneSum)
        }
        guard difference == 0 else { throw NumericalFailure("the updated weight is not finite") }
    }

    /// The same for an update that is a product and never stored: W <- W - scale a b, and the decay after it.
    func apply(productOf a: Operand<Float>, _ b: Operand<Float>, scale: Float) {
        precondition(decayBefore == 1, "a decay before a product")
        let weight = parameter.weight.matrix
        multiply(a, b, into: weight, alpha: -scale, beta: 1, on: pool)
        guard decayAfter != 1 else { return }
        let decay = Lanes(repeating: Float(decayAfter))
        weight.apply(on: pool) { $0 * decay }
    }
}

/// Some consecutive elements of a parameter: whole units of an elementwise rule.
public struct Elements {
    private let units: Range<Int>
    private let size: Int
    private let context: StepContext
    @usableFromInline let start: Int
    @usableFromInline let count: Int
    @usableFromInline let weight: UnsafeMutablePointer<Float>
    @usableFromInline let gradient: UnsafePointer<Float>
    @usableFromInline let decayBefore: Lanes
    @usableFromInline let decayAfter: Lanes

    init(units: Range<Int>, size: Int, _ context: StepContext) {
        (self.units, self.size, self.context) = (units, size, context)
        (start, count) = (units.lowerBound * size, units.count * size)
        weight = context.parameter.weight.data + start
        gradient = UnsafePointer(context.parameter.gradient.data + start)
        decayBefore = Lanes(repeating: Float(context.decayBefore))
        decayAfter = Lanes(repeating: Float(context.decayAfter))
    }

    /// Each unit alone, with its number in the parameter.
    var eachUnit: some Sequence<(index: Int, elements: Elements)> {
        units.lazy.map { ($0, Elements(units: $0..<$0 + 1, size: size, context)) }
    }

    var meanSquareOfGradient: Double { sumOfSquares(gradient, count: count) / Double(count) }

    /// W <- W - update(G, W, state) in one pass, with the decoupled decay and a check that every new weight is finite.
    ///
    /// `update` is given lanes of the gradient, of the weight (decayed, where decay comes first) and of a tensor of
    /// state of the parameter's shape, which it brings up to date. Throws `NumericalFailure`.
    @inlinable @inline(__always)
    public func update(
        _ state: Tensor<Float>, _ update: (_ g: Lanes, _ w: Lanes, _ state: inout Lanes) -> Lanes
    ) throws {
        let state = part(of: state)
        try pass { i, count, g, w in
            var new = Float.load(state + i, count: count)
            defer { Float.store(new, state + i, count: count) }
            return update(g, w, &new)
        }
    }

    /// The same with two tensors of state.
    @inlinable @inline(__always)
    public func update(
        _ first: Tensor<Float>, _ second: Tensor<Float>,
        _ update: (_ g: Lanes, _ w: Lanes, _ first: inout Lanes, _ second: inout Lanes) -> Lanes
    ) throws {
        let (first, second) = (part(of: first), part(of: second))
        try pass { i, count, g, w in
            var (newFirst, newSecond) = (Float.load(first + i, count: count), Float.load(second + i, count: count))
            defer {
                Float.store(newFirst, first + i, count: count)
                Float.store(newSecond, second + i, count: count)
            }
            return update(g, w, &newFirst, &newSecond)
        }
    }

    @inlinable @inline(__always)
    func pass(_ update: (_ i: Int, _ count: Int, _ g: Lanes, _ w: Lanes) -> Lanes) throws {
        let (weight, gradient, decayBefore, decayAfter) = (weight, gradient, decayBefore, decayAfter)
        var difference = Lanes.zero
        forEachLanes(count) { i, count in
            let kept = Float.load(weight + i, count: count) * decayBefore
            let new = (kept - update(i, count, Float.load(gradient + i, count: count), kept)) * decayAfter
            Float.store(new, weight + i, count: count)
            // 0 for every finite number: finding trouble costs no pass of its own.
            difference += new - new
        }
        guard difference.laneSum == 0 else { throw NumericalFailure("the updated weight is not finite") }
    }

    @usableFromInline
    func part(of state: Tensor<Float>) -> UnsafeMutablePointer<Float> {
        precondition(state.count == context.parameter.count, "state of shape \(state.shape) by elements")
        return state.data + start
    }
}
