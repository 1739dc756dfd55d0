import CLAPACKE

/// QR and symmetric eigenproblems (LAPACK), on the calling thread, in memory that the caller brings.
///
/// LAPACK stores matrices by columns and ours are stored by rows, so LAPACK sees every matrix
/// transposed. Bases are therefore kept as *rows*: what LAPACK calls the columns of Q are the rows
/// of our matrix, and nothing is ever copied to be transposed (as LAPACKE's row-major calls do, in
/// memory that they allocate).
///
/// Values that are not finite are refused before LAPACK sees them: some of its iterations would not
/// end on a NaN.

/// The version of LAPACK's interface: "3.9.0".
public var lapackVersion: String {
    var (major, minor, patch) = (Int32(), Int32(), Int32())
    LAPACKE_ilaver(&major, &minor, &patch)
    return "\(major).\(minor).\(patch)"
}

public struct OrthonormalizationScratch {
    /// As many floats as the rows have. Free for other uses between calls.
    public let result: UnsafeMutablePointer<Float>
    /// The triangular factors of groups of reflections.
    fileprivate let factors: UnsafeMutablePointer<Float>
    fileprivate let work: UnsafeMutablePointer<Float>
    /// Reflections that are applied together, by matrix products.
    fileprivate static let group = 96

    public init(_ arena: Arena, rows: Int, columns: Int) {
        result = arena.array(rows * columns, of: Float.self)
        factors = arena.array(Self.group * rows, of: Float.self)
        work = arena.array(Self.group * rows, of: Float.self)
    }
}

/// Replaces the rows of `a` (rows <= columns) by an orthonormal basis: the i-th new row lies in the
/// span of the first i old ones. That is the reduced QR of aᵀ by Householder reflections, whose Q is
/// orthonormal even where the rows depend on each other.
///
/// Signs are as the reflections leave them. Cost: 4 rows² columns FLOPs (a third less for a square).
/// Throws `NumericalFailure` on values that are not finite.
public func orthonormalizeRows(_ a: Matrix<Float>, _ scratch: OrthonormalizationScratch) throws {
    require(a.rows <= a.columns, "cannot orthonormalize \(a.rows) rows of length \(a.columns)")
    try requireFinite(a, "QR factorization")
    let group = min(OrthonormalizationScratch.group, a.rows)
    // In groups of LAPACK's own choice, 32, the products are too thin for their full speed.
    var status = LAPACKE_sgeqrt_work(
        LAPACK_COL_MAJOR, Int32(a.columns), Int32(a.rows), Int32(group), a.base, Int32(a.stride), scratch.factors,
        Int32(group), scratch.work)
    require(status == 0, "sgeqrt: argument \(-status)")
    // Q: the reflections, the last group first, of the first rows of the identity.
    let q = Matrix(scratch.result, rows: a.rows, columns: a.columns, stride: a.columns)
    q.base.update(repeating: 0, count: q.count)
    for row in 0..<q.rows { q[row, row] = 1 }
    for first in stride(from: (a.rows - 1) / group * group, through: 0, by: -group) {
        status = LAPACKE_slarfb_work(
            LAPACK_COL_MAJOR, CChar(UInt8(ascii: "L")), CChar(UInt8(ascii: "N")), CChar(UInt8(ascii: "F")),
            CChar(UInt8(ascii: "C")), Int32(a.columns - first), Int32(a.rows - first),
            Int32(min(group, a.rows - first)), a.row(first) + first, Int32(a.stride),
            scratch.factors + first * group, Int32(group), q.row(first) + first, Int32(q.stride), scratch.work,
            Int32(a.rows))
        require(status == 0, "slarfb: argument \(-status)")
    }
    a.copy(from: q)
    // Finite rows can still overflow within the factorization.
    try requireFinite(a, "QR factorization")
}

/// Scratch of the symmetric eigenproblem of one size, in `Float` or `Double`.
public struct EigenScratch<Real: BitwiseCopyable> {
    /// The eigenvalues of the last call, ascending.
    public let values: UnsafeMutablePointer<Real>
    fileprivate let work: UnsafeMutablePointer<Real>
    fileprivate let workCount: Int32
    fileprivate let integers: UnsafeMutablePointer<Int32>
    fileprivate let integerCount: Int32

    public init(_ arena: Arena, order n: Int) {
        // LAPACK's documented minimum for divide and conquer with vectors, which ssyevd's own query
        // can report too small: it returns the size as a float.
        workCount = Int32(1 + 6 * n + 2 * n * n)
        integerCount = Int32(3 + 5 * n)
        values = arena.array(n, of: Real.self)
        work = arena.array(Int(workCount), of: Real.self)
        integers = arena.array(Int(integerCount), of: Int32.self)
    }
}

/// Replaces the symmetric n x n matrix by its eigenvectors as rows, by ascending eigenvalue.
///
/// Divide and conquer (ssyevd). Only the upper triangle is read (LAPACK's lower). Cost: about 9 n³ FLOPs.
/// Throws `NumericalFailure` where it does not converge or a value is not finite.
public func eigenvectorRows(ofSymmetric a: Matrix<Float>, _ scratch: EigenScratch<Float>) throws {
    require(a.rows == a.columns, "eigenvectors of a \(a.rows)x\(a.columns) matrix")
    try requireFinite(a, "eigendecomposition")
    let status = LAPACKE_ssyevd_work(
        LAPACK_COL_MAJOR, CChar(UInt8(ascii: "V")), CChar(UInt8(ascii: "L")), Int32(a.rows), a.base,
        Int32(a.stride), scratch.values, scratch.work, scratch.workCount, scratch.integers,
        scratch.integerCount)
    require(status >= 0, "ssyevd: argument \(-status)")
    guard status == 0 else { throw NumericalFailure("the eigendecomposition did not converge") }
    try requireFinite(a, "eigendecomposition")
}

/// The same in double precision, for an n x n matrix without gaps between its rows, of which only the
/// upper triangle need be there.
public func eigenvectorRows(
    ofSymmetric a: UnsafeMutablePointer<Double>, order n: Int, _ scratch: EigenScratch<Double>
) throws {
    // x - x is 0 for every finite x.
    var sum = 0.0
    for row in 0..<n {
        for index in row * n + row..<row * n + n { sum += a[index] - a[index] }
    }
    guard sum == 0 else { throw NumericalFailure("the eigendecomposition met a value that is not finite") }
    let status = LAPACKE_dsyevd_work(
        LAPACK_COL_MAJOR, CChar(UInt8(ascii: "V")), CChar(UInt8(ascii: "L")), Int32(n), a, Int32(n),
        scratch.values, scratch.work, scratch.workCount, scratch.integers, scratch.integerCount)
    require(status >= 0, "dsyevd: argument \(-status)")
    guard status == 0 else { throw NumericalFailure("the eigendecomposition did not converge") }
}

private func requireFinite(_ a: Matrix<Float>, _ operation: String) throws {
    guard a.isFinite else { throw NumericalFailure("the \(operation) met a value that is not finite") }
}
