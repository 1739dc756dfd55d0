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
        for first in stride(from: 0, to: columns, by: Self.width) {
            let panel = base + first * rows + range.lowerBound * Self.width
            let wholeColumns = min(Self.width, max(0, x.columns - first)) & ~(laneCount - 1)
            for row in stride(from: 0, to: range.count, by: Element.wordSize) {
                let target = panel + row * Self.width
                let whole = row + Element.wordSize <= x.rows ? wholeColumns : 0
                for column in stride(from: 0, to: whole, by: laneCount) {
                    Element.storeWords(
                        x.wordsDown(row: row, column: first + column), target + column * Element.wordSize)
                }
                for column in stride(from: whole, to: Self.width, by: laneCount) {
                    let isPadding = row >= x.rows || first + column >= x.columns
                    Element.storeWords(
                        isPadding ? .zero : x.paddedWords { (row + $1, first + column + $0) },
                        target + column * Element.wordSize)
                }
            }
        }
    }

    /// Brings the transpose of `x` into the panels.
    @inlinable
    public func packTransposed(_ x: Matrix<Element>) {
        require(x.columns <= rows && x.rows <= columns, "\(x.columns)x\(x.rows) in panels of \(rows)x\(columns)")
        withUnsafeTemporaryAllocation(of: Lanes.self, capacity: laneCount) { square in
            for column in stride(from: 0, to: columns, by: laneCount) {
                let offset = column & (Self.width - 1)
                let panel = base + (column - offset) * rows + offset * Element.wordSize
                for row in stride(from: 0, to: rows, by: Self.rowStep) {
                    let isWhole = column + laneCount <= x.rows && row + Self.rowStep <= x.columns
                    if isWhole {
                        for i in 0..<laneCount { square[i] = x.wordsAlong(row: column + i, column: row) }
                    } else {
                        for i in 0..<laneCount {
                            square[i] = x.paddedWords { (column + i, row + $0 * Element.wordSize + $1) }
                        }
                    }
                    transpose(square.baseAddress!)
                    for i in 0..<laneCount {
                        Element.storeWords(square[i], panel + (row + i * Element.wordSize) * Self.width)
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
