import TensorCore

/// The parts of a softmax that attention and the loss share; float32, over one row.
enum Softmax {
    /// Replaces each x_j by e_j = exp(x_j - max x) and returns max x and the sum of the e_j.
    @inline(__always)
    static func exponentials(_ x: UnsafeMutablePointer<Float>, count: Int) -> (max: Float, sum: Float) {
        var largest = Lanes(repeating: -.infinity)
        forEachLanes(count) { j, n in
            largest = pointwiseMax(largest, padded(Float.load(x + j, count: n), n, with: -.infinity))
        }
        let shift = largest.laneMax
        var sums = Lanes.zero
        forEachLanes(count) { j, n in
            let exponentials = exp(Float.load(x + j, count: n) - shift)
            Float.store(exponentials, x + j, count: n)
            sums += padded(exponentials, n, with: 0)
        }
        return (shift, sums.laneSum)
    }

    /// Multiplies each x_j by `factor`.
    @inline(__always)
    static func scale(_ x: UnsafeMutablePointer<Float>, count: Int, by factor: Float) {
        forEachLanes(count) { j, n in
            Float.store(Float.load(x + j, count: n) * factor, x + j, count: n)
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
