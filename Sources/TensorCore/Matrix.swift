/// A view of a row-major matrix in somebody else's memory: `rows` x `columns`, consecutive rows
/// `stride` elements apart. The owner (a `Tensor`) must outlive it.
public struct Matrix<Element: TensorElement>: @unchecked Sendable {
    public let base: UnsafeMutablePointer<Element>
    public let rows: Int
    public let columns: Int
    public let stride: Int

    @inlinable
    public init(_ base: UnsafeMutablePointer<Element>, rows: Int, columns: Int, stride: Int) {
        require(
            rows >= 0 && columns >= 0 && stride >= columns,
            "matrix \(rows)x\(columns) with row stride \(stride)")
        self.base = base
        self.rows = rows
        self.columns = columns
        self.stride = stride
    }

    @inlinable public var isContiguous: Bool { stride == columns || rows <= 1 }
    @inlinable public var count: Int { rows * columns }

    @inlinable @inline(__always)
    public func row(_ index: Int) -> UnsafeMutablePointer<Element> { base + index * stride }

    @inlinable
    public subscript(row: Int, column: Int) -> Element {
        @inline(__always) get { base[row * stride + column] }
        @inline(__always) nonmutating set { base[row * stride + column] = newValue }
    }

    /// The rows in `range`, without copying.
    @inlinable
    public func rows(_ range: Range<Int>) -> Matrix {
        require(
            range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)x\(columns)")
        return Matrix(row(range.lowerBound), rows: range.count, columns: columns, stride: stride)
    }

    /// The columns in `range`, without copying.
    @inlinable
    public func columns(_ range: Range<Int>) -> Matrix {
        require(
            range.lowerBound >= 0 && range.upperBound <= columns,
            "columns \(range) of \(rows)x\(columns)")
        return Matrix(base + range.lowerBound, rows: rows, columns: range.count, stride: stride)
    }

    /// Copies all elements of a matrix of the same shape.
    public func copy(from other: Matrix) {
        require(
            rows == other.rows && columns == other.columns,
            "copy of \(other.rows)x\(other.columns) into \(rows)x\(columns)")
        for row in 0..<rows { self.row(row).update(from: other.row(row), count: columns) }
    }

    /// Asks for all rows, before they are read: the CPU does not foresee the next row of a few columns.
    @inlinable
    public func prefetch() {
        for row in 0..<rows {
            let start = UnsafeRawPointer(self.row(row))
            for offset in Swift.stride(from: 0, to: columns * MemoryLayout<Element>.stride, by: 64) {
                prefetchLine(start + offset)
            }
        }
    }
}
