/// Passes over whole matrices, lane by lane in a fixed order. `on pool`: in tiles of rows that idle workers help
/// with; the bits are the same.
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

    /// x = f(x), shared out.
    @inlinable @inline(__always)
    public func apply(on pool: WorkerPool, _ transform: (Lanes) -> Lanes) {
        rowTiles.forEach(on: pool) { self.rows($0).apply(transform) }
    }

    /// x = f(x, y); y has the same shape.
    @inlinable @inline(__always)
    public func combine(with other: Matrix<Float>, _ transform: (_ x: Lanes, _ y: Lanes) -> Lanes) {
        require(
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

    /// x = f(x, y), shared out.
    @inlinable @inline(__always)
    public func combine(with other: Matrix<Float>, on pool: WorkerPool, _ transform: (_ x: Lanes, _ y: Lanes) -> Lanes)
    {
        rowTiles.forEach(on: pool) { self.rows($0).combine(with: other.rows($0), transform) }
    }

    /// x = f(x, y, z), which may change y and z, too; all have the same shape. Shared out.
    @inlinable @inline(__always)
    public func combine(
        with y: Matrix<Float>, _ z: Matrix<Float>, on pool: WorkerPool,
        _ transform: (_ x: Lanes, _ y: inout Lanes, _ z: inout Lanes) -> Lanes
    ) {
        require(
            [y, z].allSatisfy { rows == $0.rows && columns == $0.columns },
            "elementwise \(rows)x\(columns) with \(y.rows)x\(y.columns) and \(z.rows)x\(z.columns)")
        rowTiles.forEach(on: pool) { rows in
            for row in rows {
                let (x, y, z) = (self.row(row), y.row(row), z.row(row))
                forEachLanes(columns) { offset, count in
                    var newY = Float.load(y + offset, count: count)
                    var newZ = Float.load(z + offset, count: count)
                    let newX = transform(Float.load(x + offset, count: count), &newY, &newZ)
                    Float.store(newX, x + offset, count: count)
                    Float.store(newY, y + offset, count: count)
                    Float.store(newZ, z + offset, count: count)
                }
            }
        }
    }

    /// Copies all elements of a matrix of the same shape, shared out.
    public func copy(from other: Matrix<Float>, on pool: WorkerPool) {
        rowTiles.forEach(on: pool) { self.rows($0).copy(from: other.rows($0)) }
    }

    /// The square root of the sum of squares: lanes within a row, rows and tiles of rows in double precision.
    public func frobeniusNorm(on pool: WorkerPool) -> Double {
        rowTiles.sum(on: pool) { self.rows($0).sumOfSquareRows }.squareRoot()
    }

    var sumOfSquareRows: Double { (0..<rows).reduce(0) { $0 + sumOfSquares(row($1), count: columns) } }

    public func isFinite(on pool: WorkerPool) -> Bool {
        rowTiles.sum(on: pool) { self.rows($0).isFinite ? 0 : 1 } == 0
    }

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
