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

    /// The largest x_j.
    @inline(__always)
    static func max(_ x: UnsafePointer<Float>, count: Int) -> Float {
        var largest = Lanes(repeating: -.infinity)
        forEachLanes(count) { j, n in
            largest = pointwiseMax(largest, padded(Float.load(x + j, count: n), n, with: -.infinity))
        }
        return largest.laneMax
    }

    /// Replaces each x_j by e_j = exp(scale x_j - shift) and returns the sum of the e_j.
    @inline(__always)
    static func exponentials(
        _ x: UnsafeMutablePointer<Float>, count: Int, scale: Float = 1, shift: Float
    ) -> Float {
        var sums = Lanes.zero
        forEachLanes(count) { j, n in
            let exponentials = exp(Float.load(x + j, count: n) * scale - shift)
            Float.store(exponentials, x + j, count: n)
            sums += padded(exponentials, n, with: 0)
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

    /// The first `count` lanes; the others become `value`.
    @inline(__always)
    private static func padded(_ lanes: Lanes, _ count: Int, with value: Float) -> Lanes {
        var lanes = lanes
        for lane in count..<laneCount { lanes[lane] = value }
        return lanes
    }
}
