import TensorCore

/// The parts of a softmax that attention and the loss share; float32, over one row.
enum Softmax {
    /// Replaces each x_j by e_j = exp(scale x_j - max(scale x)) and returns max(scale x) and the sum of
    /// the e_j. The scale is positive.
    @inline(__always)
    static func exponentials(
        _ x: UnsafeMutablePointer<Float>, count: Int, scale: Float = 1
    ) -> (max: Float, sum: Float) {
        let shift = max(x, count: count) * scale
        return (shift, exponentials(x, count: count, scale: scale, shift: shift))
    }

    @inline(__always)
    static func max(_ x: UnsafePointer<Float>, count: Int) -> Float {
        var largest = Lanes(repeating: -.infinity)
        let whole = count - count % laneCount
        for j in stride(from: 0, to: whole, by: laneCount) { largest = largest.larger(Float.load(x + j)) }
        // The lanes beyond the end would be zero, which may be the largest.
        return (whole..<count).reduce(largest.laneMax) { Swift.max($0, x[$1]) }
    }

    /// Replaces each x_j by e_j = exp(scale x_j - shift) and returns the sum of the e_j.
    @inline(__always)
    static func exponentials(
        _ x: UnsafeMutablePointer<Float>, count: Int, scale: Float = 1, shift: Float
    ) -> Float {
        var sums = Lanes.zero
        forEachLanes(count) { j, n in
            var exponentials = exp(Float.load(x + j, count: n) * scale - shift)
            Float.store(exponentials, x + j, count: n)
            // Beyond the end the lanes hold exp(-shift).
            if n < laneCount { for lane in n..<laneCount { exponentials[lane] = 0 } }
            sums += exponentials
        }
        return sums.laneSum
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
