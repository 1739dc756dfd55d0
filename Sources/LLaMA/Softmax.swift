import TensorCore

/// The parts of a softmax that attention and the loss share; float32, over one row.
enum Softmax {
    /// max(x) and the sum of exp(x_j - max(x)).
    @inline(__always)
    static func normalizer(_ x: UnsafePointer<Float>, count: Int) -> (max: Float, sum: Float) {
        let largest = max(x, count: count)
        var sums = Lanes.zero
        forEachLanes(count) { j, n in
            var exponentials = exponentials(Float.load(x + j, count: n), largest)
            // Beyond the end the lanes hold exp(-max).
            if n < laneCount { for lane in n..<laneCount { exponentials[lane] = 0 } }
            sums += exponentials
        }
        return (largest, sums.laneSum)
    }

    /// y_j = factor exp(x_j - shift), where no x_j is larger than the shift; y may be x.
    @inline(__always)
    static func exponentials<Element: TensorElement>(
        _ x: UnsafePointer<Float>, count: Int, shift: Float, factor: Float, into y: UnsafeMutablePointer<Element>
    ) {
        forEachLanes(count) { j, n in
            Element.store(exponentials(Float.load(x + j, count: n), shift) * factor, y + j, count: n)
        }
    }

    @inline(__always)
    private static func exponentials(_ x: Lanes, _ shift: Float) -> Lanes { exp2((x - shift) * 1.442_695_04) }

    @inline(__always)
    static func max(_ x: UnsafePointer<Float>, count: Int) -> Float {
        var largest = Lanes(repeating: -.infinity)
        let whole = count - count % laneCount
        for j in stride(from: 0, to: whole, by: laneCount) { largest = largest.larger(Float.load(x + j)) }
        // The lanes beyond the end would be zero, which may be the largest.
        return (whole..<count).reduce(largest.laneMax) { Swift.max($0, x[$1]) }
    }

    /// y_j = factor x_j; y may be x.
    @inline(__always)
    static func scale<Element: TensorElement>(
        _ x: UnsafePointer<Float>, count: Int, by factor: Float, into y: UnsafeMutablePointer<Element>
    ) {
        forEachLanes(count) { j, n in
            Element.store(Float.load(x + j, count: n) * factor, y + j, count: n)
        }
    }
}
