/// Passes over whole matrices, lane by lane in a fixed order.
extension Matrix where Element == Float {
    /// x = f(x)
    @inlinable @inline(__always)
    public func apply(_ transform: (Lanes) -> Lanes) {
        for row in 0..<rows {
            let x = self.row(row)
            forEachLanes(columns) { offset, count in
                Float.store(transform(Float.load(x + offset, count: count)), x + offset, count: count)
            }
        }
    }

    /// x = f(x, y); y has the same shape.
    @inlinable @inline(__always)
    public func combine(with other: Matrix<Float>, _ transform: (_ x: Lanes, _ y: Lanes) -> Lanes) {
        precondition(
            rows == other.rows && columns == other.columns,
            "elementwise \(rows)x\(columns) with \(other.rows)x\(other.columns)")
        for row in 0..<rows {
            let (x, y) = (self.row(row), other.row(row))
            forEachLanes(columns) { offset, count in
                Float.store(
                    transform(Float.load(x + offset, count: count), Float.load(y + offset, count: count)),
                    x + offset, count: count)
            }
        }
    }

    /// Copies all elements of a matrix of the same shape.
    public func copy(from other: Matrix<Float>) {
        precondition(
            rows == other.rows && columns == other.columns,
            "copy of \(other.rows)x\(other.columns) into \(rows)x\(columns)")
        for row in 0..<rows { self.row(row).update(from: other.row(row), count: columns) }
    }

    /// The square root of the sum of squares: lanes within a row, rows in double precision.
    public var frobeniusNorm: Double {
        var sum = 0.0
        for row in 0..<rows { sum += sumOfSquares(self.row(row), count: columns) }
        return sum.squareRoot()
    }

    /// Whether no element is infinite or NaN.
    public var isFinite: Bool {
        var sum = Lanes.zero
        for row in 0..<rows {
            let x = self.row(row)
            forEachLanes(columns) { offset, count in
                // x - x is 0 for every finite x.
                let lanes = Float.load(x + offset, count: count)
                sum += lanes - lanes
            }
        }
        return sum.laneSum == 0
    }
}

/// The sum of squares of `count` floats: in lanes of float over stretches of 4096, these in double
/// precision. Squares outside of float's range are summed again in double precision.
public func sumOfSquares(_ x: UnsafePointer<Float>, count: Int) -> Double {
    var total = 0.0
    for start in stride(from: 0, to: count, by: 4096) {
        let stretch = min(4096, count - start)
        var lanes = Lanes.zero
        forEachLanes(stretch) { offset, count in
            let some = Float.load(x + start + offset, count: count)
            lanes = some.multiplyAdd(some, lanes)
        }
        let sum = lanes.laneSum
        if sum > 1e-25, sum < 1e37 {
            total += Double(sum)
        } else {
            for index in start..<start + stretch { total += Double(x[index]) * Double(x[index]) }
        }
    }
    return total
}
