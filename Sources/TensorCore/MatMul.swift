import COpenBLAS

public enum LinearAlgebraLibrary {
    /// The threads of a call: 1, since `CPlatform` sets it when the process starts. (`WorkerPool` cuts the work, and
    /// two thread pools on the same cores fight each other.)
    public static var threadCount: Int { Int(openblas_get_num_threads()) }

    /// The CPU type whose kernels OpenBLAS chose when it was loaded, `OPENBLAS_CORETYPE` included.
    public static var coreName: String { String(cString: openblas_get_corename()) }

    /// "0.3.21"
    public static var version: String {
        // "OpenBLAS 0.3.21 DYNAMIC_ARCH ..."
        let words = String(cString: openblas_get_config()).split(separator: " ")
        return words.count > 1 ? String(words[1]) : "unknown"
    }
}

/// A matrix operand, possibly to be read transposed.
public struct Operand<Element: TensorElement> {
    @usableFromInline let matrix: Matrix<Element>
    @usableFromInline let isTransposed: Bool
    /// Whether this right operand is in oneDNN's own layout: `matrix` then gives no more than its shape and address.
    let isPacked: Bool

    @usableFromInline
    init(_ matrix: Matrix<Element>, isTransposed: Bool, isPacked: Bool = false) {
        self.matrix = matrix
        self.isTransposed = isTransposed
        self.isPacked = isPacked
    }

    @usableFromInline var rows: Int { isTransposed ? matrix.columns : matrix.rows }
    @usableFromInline var columns: Int { isTransposed ? matrix.rows : matrix.columns }

    func rows(_ range: Range<Int>) -> Operand {
        Operand(isTransposed ? matrix.columns(range) : matrix.rows(range), isTransposed: isTransposed)
    }

    func columns(_ range: Range<Int>) -> Operand { transposed.rows(range).transposed }

    var transposed: Operand { Operand(matrix, isTransposed: !isTransposed) }
}

extension Matrix {
    /// The matrix read transposed by a product; nothing is moved.
    public var transposed: Operand<Element> { Operand(self, isTransposed: true) }
    public var plain: Operand<Element> { Operand(self, isTransposed: false) }
}

/// c = alpha * a b + beta * c in float32, on the calling thread (OpenBLAS sgemm,
/// or sgemv for a single row).
///
/// a is m x k, b is k x n, c is m x n and overlaps neither. With `beta` 0, c is not read.
/// Cost: 2mnk FLOPs.
public func multiply(
    _ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>, alpha: Float = 1, beta: Float = 0
) {
    require(
        a.columns == b.rows && c.rows == a.rows && c.columns == b.columns,
        "product of \(a.rows)x\(a.columns) and \(b.rows)x\(b.columns) into \(c.rows)x\(c.columns)")
    guard c.rows > 0, c.columns > 0 else { return }
    if c.rows == 1, !a.isTransposed {
        // sgemm would spend its time repacking b for a single row.
        cblas_sgemv(
            CblasRowMajor, b.isTransposed ? CblasNoTrans : CblasTrans,
            blasint(b.matrix.rows), blasint(b.matrix.columns),
            alpha, b.matrix.base, blasint(b.matrix.stride), a.matrix.base, 1, beta, c.base, 1)
        return
    }
    cblas_sgemm(
        CblasRowMajor, a.isTransposed ? CblasTrans : CblasNoTrans,
        b.isTransposed ? CblasTrans : CblasNoTrans,
        blasint(c.rows), blasint(c.columns), blasint(a.columns),
        alpha, a.matrix.base, blasint(a.matrix.stride), b.matrix.base, blasint(b.matrix.stride),
        beta, c.base, blasint(c.stride))
}

/// c = alpha * a aᵀ + beta * c on the calling thread: half the work of the general product (OpenBLAS
/// ssyrk), and c comes out symmetric to the bit.
///
/// a is m x k, c is m x m, symmetric, and does not overlap it. With `beta` 0, c is not read.
/// Cost: m²k FLOPs.
public func multiplyByOwnTranspose(
    _ a: Operand<Float>, into c: Matrix<Float>, alpha: Float = 1, beta: Float = 0
) {
    require(
        c.rows == a.rows && c.columns == a.rows,
        "product of \(a.rows)x\(a.columns) and its transpose into \(c.rows)x\(c.columns)")
    cblas_ssyrk(
        CblasRowMajor, CblasUpper, a.isTransposed ? CblasTrans : CblasNoTrans, blasint(a.rows),
        blasint(a.columns), alpha, a.matrix.base, blasint(a.matrix.stride), beta, c.base, blasint(c.stride))
    c.mirrorUpperTriangle()
}

extension Matrix {
    /// Copies the upper triangle of a square matrix to the lower one, by tiles: neither is walked down a column.
    func mirrorUpperTriangle() {
        for rows in ranges(of: rows, size: 32) {
            for columns in ranges(of: rows.upperBound, size: 32) {
                for row in rows {
                    for column in columns where column < row { self[row, column] = self[column, row] }
                }
            }
        }
    }

    /// target = f(x)', sixteen by sixteen.
    @inline(__always)
    func copyTransposed<Other>(to target: Matrix<Other>, _ f: (Lanes) -> Lanes) {
        require(
            target.rows == columns && target.columns == rows,
            "transpose of \(rows)x\(columns) into \(target.rows)x\(target.columns)")
        withUnsafeTemporaryAllocation(of: Lanes.self, capacity: laneCount) { square in
            for row in Swift.stride(from: 0, to: rows, by: laneCount) {
                let height = min(laneCount, rows - row)
                for column in Swift.stride(from: 0, to: columns, by: laneCount) {
                    let width = min(laneCount, columns - column)
                    for i in 0..<height { square[i] = f(Element.load(self.row(row + i) + column, count: width)) }
                    transpose(square.baseAddress!)
                    for i in 0..<width { Other.store(square[i], target.row(column + i) + row, count: height) }
                }
            }
        }
    }
}

/// gram = a aᵀ in double precision, its upper triangle (by rows), on the calling thread.
///
/// a is m x k; `gram` has m x m elements; `panel`, scratch, has m x `gramPanelColumns`. The square of
/// a float is exact in double, so even singular values 10⁻⁷ of the largest survive the squaring.
public func multiplyByOwnTranspose(
    _ a: Operand<Float>, into gram: UnsafeMutablePointer<Double>, panel: UnsafeMutablePointer<Double>
) {
    let (m, k) = (a.rows, a.columns)
    for start in stride(from: 0, to: k, by: gramPanelColumns) {
        let width = min(gramPanelColumns, k - start)
        for row in 0..<m {
            for column in 0..<width {
                panel[row * width + column] = Double(
                    a.isTransposed ? a.matrix[start + column, row] : a.matrix[row, start + column])
            }
        }
        cblas_dsyrk(
            CblasRowMajor, CblasUpper, CblasNoTrans, blasint(m), blasint(width), 1, panel, blasint(width),
            start == 0 ? 0 : 1, gram, blasint(m))
    }
}

/// The columns that the double-precision product takes at a time.
public let gramPanelColumns = 128
