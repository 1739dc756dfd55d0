/// A right operand of small products, brought by kernels themselves into the layout of packed operands: panels of 64
/// columns, one after another, each with its rows one after another, in bfloat16 two rows interleaved element by element.
///
/// Rows and columns are padded with zeros. So columns from a multiple of 64 on, and of a single panel rows from a
/// multiple of `rowStep` on, are operands of their own.
public struct Panels<Element: ActivationElement>: @unchecked Sendable {
    public let base: UnsafeMutablePointer<Element>
    public let rows: Int
    public let columns: Int

    @inlinable public static var width: Int { packedPanel }
    /// Rows are padded to a multiple of this.
    @inlinable public static var rowStep: Int { 64 / MemoryLayout<Element>.stride }

    /// Memory for `rows` x `columns`, uninitialized.
    public init(_ arena: Arena, rows: Int, columns: Int) {
        self.init(arena.array(Self.count(rows: rows, columns: columns), of: Element.self), rows: rows, columns: columns)
    }

    /// In memory for as many elements as `count` says.
    @inlinable
    public init(_ base: UnsafeMutablePointer<Element>, rows: Int, columns: Int) {
        (self.base, self.rows, self.columns) = (
            base, rounded(rows, to: Self.rowStep), rounded(columns, to: Self.width)
        )
    }

    /// The elements of panels for `rows` x `columns`.
    public static func count(rows: Int, columns: Int) -> Int {
        rounded(rows, to: rowStep) * rounded(columns, to: width)
    }

    /// Whole panels.
    @inlinable
    public func columns(_ range: Range<Int>) -> Panels {
        require(
            range.lowerBound % Self.width == 0 && range.count % Self.width == 0 && range.upperBound <= columns,
            "columns \(range) of panels of \(rows)x\(columns)")
        return Panels(base + range.lowerBound * rows, rows: rows, columns: range.count)
    }

    /// The panel of 64 columns that begins with one.
    @inlinable
    public func panel(at column: Int) -> Panels { columns(column..<column + Self.width) }

    /// Some rows of a single panel.
    @inlinable
    public func rows(_ range: Range<Int>) -> Panels {
        require(
            columns == Self.width && range.lowerBound % Self.rowStep == 0 && range.count % Self.rowStep == 0
                && range.upperBound <= rows, "rows \(range) of panels of \(rows)x\(columns)")
        return Panels(base + range.lowerBound * Self.width, rows: range.count, columns: columns)
    }

    /// Brings `x`, of no more rows and columns, into the panels.
    @inlinable
    public func pack(_ x: Matrix<Element>) { pack(x, rows: 0..<rows) }

    /// Brings `x` into some rows of all panels.
    @inlinable
    public func pack(_ x: Matrix<Element>, rows range: Range<Int>) {
        require(
            x.rows <= range.count && x.columns <= columns && range.lowerBound % Self.rowStep == 0
                && range.count % Self.rowStep == 0 && range.upperBound <= rows,
            "\(x.rows)x\(x.columns) in rows \(range) of panels of \(rows)x\(columns)")
        func lanes(_ row: Int, _ column: Int) -> Lanes {
            let count = min(laneCount, x.columns - column)
            return row < x.rows && count > 0 ? Element.load(x.row(row) + column, count: count) : .zero
        }
        for first in stride(from: 0, to: columns, by: Self.width) {
            let panel = base + first * rows + range.lowerBound * Self.width
            let wholeRows = first + Self.width <= x.columns ? x.rows & ~1 : 0
            for row in stride(from: 0, to: wholeRows, by: 2) {
                let (target, even, odd) = (panel + row * Self.width, x.row(row) + first, x.row(row + 1) + first)
                for column in stride(from: 0, to: Self.width, by: laneCount) {
                    Element.storePair(Element.load(even + column), Element.load(odd + column), target, column: column)
                }
            }
            for row in stride(from: wholeRows, to: range.count, by: 2) {
                let target = panel + row * Self.width
                for column in stride(from: 0, to: Self.width, by: laneCount) {
                    Element.storePair(
                        lanes(row, first + column), lanes(row + 1, first + column), target, column: column)
                }
            }
        }
    }

    /// Brings the transpose of `x` into the panels.
    @inlinable
    public func packTransposed(_ x: Matrix<Element>) {
        require(x.columns <= rows && x.rows <= columns, "\(x.columns)x\(x.rows) in panels of \(rows)x\(columns)")
        withUnsafeTemporaryAllocation(of: Lanes.self, capacity: laneCount) { tile in
            for column in stride(from: 0, to: columns, by: laneCount) {
                let panel = base + (column & ~(Self.width - 1)) * rows
                for row in stride(from: 0, to: rows, by: laneCount) {
                    let count = min(laneCount, x.columns - row)
                    if count == laneCount, column + laneCount <= x.rows {
                        for i in 0..<laneCount { tile[i] = Element.load(x.row(column + i) + row) }
                    } else {
                        for i in 0..<laneCount {
                            tile[i] =
                                column + i < x.rows && count > 0
                                ? Element.load(x.row(column + i) + row, count: count) : .zero
                        }
                    }
                    transpose(tile.baseAddress!)
                    for i in stride(from: 0, to: laneCount, by: 2) {
                        Element.storePair(
                            tile[i], tile[i + 1], panel + (row + i) * Self.width, column: column & (Self.width - 1))
                    }
                }
            }
        }
    }
}

/// c = a b, or with `accumulating` c += a b, in float32 on the calling thread. a and c have no gaps between their rows;
/// a has as many columns, and c, as b has rows and columns that are not padding.
@_specialize(where Element == Float)
@_specialize(where Element == BFloat16)
public func multiply<Element: ActivationElement>(
    _ a: Matrix<Element>, _ b: Panels<Element>, into c: Matrix<Float>, accumulating: Bool
) {
    require(
        a.columns <= b.rows && c.columns <= b.columns && a.isContiguous,
        "product of \(a.rows)x\(a.columns) and panels of \(b.rows)x\(b.columns) into \(c.rows)x\(c.columns)")
    if Element.self == BFloat16.self || isFloat32Packed {
        let shape = Matrix(b.base, rows: a.columns, columns: c.columns, stride: c.columns)
        Element.product(
            a.plain, Operand(shape, isTransposed: false, isPacked: true), into: c, accumulating: accumulating)
        return
    }
    for first in stride(from: 0, to: c.columns, by: packedPanel) {
        let columns = first..<min(first + packedPanel, c.columns)
        let panel = Matrix(b.base + first * b.rows, rows: a.columns, columns: columns.count, stride: packedPanel)
        Element.product(a.plain, panel.plain, into: c.columns(columns), accumulating: accumulating)
    }
}

private let isFloat32Packed = Float.packsWeights

/// The least multiple of `step` that is not below `count`.
@inlinable
public func rounded(_ count: Int, to step: Int) -> Int { (count + step - 1) / step * step }
