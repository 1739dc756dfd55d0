import CLAPACKE

/// Symmetric eigenproblems (LAPACK), on the calling thread, in memory that the caller brings.
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
