import TensorCore

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
        weight = context.weight.data + start
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
        try pass { i, count, g, w in revise(state + i, count) { update(g, w, &$0) } }
    }

    /// The same with two tensors of state.
    @inlinable @inline(__always)
    public func update(
        _ first: Tensor<Float>, _ second: Tensor<Float>,
        _ update: (_ g: Lanes, _ w: Lanes, _ first: inout Lanes, _ second: inout Lanes) -> Lanes
    ) throws {
        let (first, second) = (part(of: first), part(of: second))
        try pass { i, count, g, w in
            revise(first + i, count) { first in revise(second + i, count) { update(g, w, &first, &$0) } }
        }
    }

    /// The same with three.
    @inlinable @inline(__always)
    public func update(
        _ first: Tensor<Float>, _ second: Tensor<Float>, _ third: Tensor<Float>,
        _ update: (_ g: Lanes, _ w: Lanes, _ first: inout Lanes, _ second: inout Lanes, _ third: inout Lanes) -> Lanes
    ) throws {
        let (first, second, third) = (part(of: first), part(of: second), part(of: third))
        try pass { i, count, g, w in
            revise(first + i, count) { first in
                revise(second + i, count) { second in revise(third + i, count) { update(g, w, &first, &second, &$0) } }
            }
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
        require(state.count == context.parameter.count, "state of shape \(state.shape) by elements")
        return state.data + start
    }
}

/// Lanes of state, brought up to date by `body`; returns what it does.
@inlinable @inline(__always)
func revise(_ state: UnsafeMutablePointer<Float>, _ count: Int, _ body: (inout Lanes) -> Lanes) -> Lanes {
    var lanes = Float.load(state, count: count)
    defer { Float.store(lanes, state, count: count) }
    return body(&lanes)
}
