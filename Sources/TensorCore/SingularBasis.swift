/// The leading singular vectors of a matrix, from the eigenvectors of its smaller Gram matrix.
///
/// For G (m x n) with p = min(m, n): the eigenvectors of G Gᵀ (m <= n) or Gᵀ G (m > n), p x p, are the
/// singular vectors of the smaller side; those of the larger side are their products with G,
/// orthonormalized. Nothing of the size of the larger dimension squared is formed.
///
/// **Numerics.** The Gram matrix and its eigenproblem are in double precision. Squaring halves the
/// digits, and double has more than twice those of float: singular vectors down to 10⁻⁷ of the largest
/// singular value are as good as those of a decomposition of G in float. Vectors of equal singular
/// values may come rotated, as from any method.
///
/// **Cost.** p² max(m, n) FLOPs for the Gram matrix, about 9 p³ for the eigenproblem, in double; the larger
/// side 2 r m n + 4 r² max(m, n) in float. A decomposition of G itself takes about 14 max p² + 8 p³.
public struct SingularBasisScratch {
    fileprivate let gram: UnsafeMutablePointer<Double>
    fileprivate let panel: UnsafeMutablePointer<Double>
    fileprivate let eigen: EigenScratch<Double>
    /// The vectors of the smaller side, where the larger side's are wanted.
    fileprivate let smaller: Matrix<Float>
    fileprivate let orthonormalization: OrthonormalizationScratch

    /// For `rank` vectors of a `rows` x `columns` matrix, of either side.
    public init(_ arena: Arena, rows: Int, columns: Int, rank: Int) {
        let order = min(rows, columns)
        gram = arena.array(order * order, of: Double.self)
        panel = arena.array(order * gramPanelColumns, of: Double.self)
        eigen = EigenScratch(arena, order: order)
        smaller = arena.matrix(min(rank, order), order)
        orthonormalization = OrthonormalizationScratch(arena, rows: rank, columns: max(rows, columns))
    }
}

/// Which singular vectors: `left` ones have the length of a column, `right` ones of a row.
public enum SingularSide: Sendable { case left, right }

/// Sets the rows of `basis` to the leading singular vectors of `g` on one side, by descending singular
/// value. Rows beyond the rank of `g` complete them to an orthonormal set.
///
/// Signs are canonical: the entry of largest magnitude, the first of equals, is positive.
/// Throws `NumericalFailure` where `g` is not finite or the eigenproblem does not converge.
public func leadingSingularVectors(
    of g: Matrix<Float>, _ side: SingularSide, into basis: Matrix<Float>, _ scratch: SingularBasisScratch,
    on pool: WorkerPool
) throws {
    let (length, order) = (side == .left ? g.rows : g.columns, min(g.rows, g.columns))
    require(
        basis.columns == length && basis.rows <= length,
        "\(basis.rows)x\(basis.columns) basis for the \(side) side of a \(g.rows)x\(g.columns) matrix")
    let isSmaller = length == order
    let isLeftGram = isSmaller == (side == .left)
    multiplyByOwnTranspose(isLeftGram ? g.plain : g.transposed, into: scratch.gram, panel: scratch.panel)
    try eigenvectorRows(ofSymmetric: scratch.gram, order: order, scratch.eigen)

    let leading = isSmaller ? basis : scratch.smaller.rows(0..<min(basis.rows, order))
    for row in 0..<leading.rows {
        // Ascending eigenvalues: the leading vectors are the last.
        let vector = scratch.gram + (order - 1 - row) * order
        for column in 0..<order { leading[row, column] = Float(vector[column]) }
    }
    if !isSmaller {
        multiply(leading.plain, side == .right ? g.plain : g.transposed, into: basis.rows(0..<leading.rows))
        for row in leading.rows..<basis.rows { basis.row(row).update(repeating: 0, count: length) }
        try orthonormalizeRows(basis, scratch.orthonormalization, on: pool)
    }
    for row in 0..<basis.rows { makeSignCanonical(basis.row(row), count: length) }
}

private func makeSignCanonical(_ vector: UnsafeMutablePointer<Float>, count: Int) {
    var largest: Float = 0
    for index in 0..<count where vector[index].magnitude > largest.magnitude { largest = vector[index] }
    guard largest < 0 else { return }
    for index in 0..<count { vector[index].negate() }
}
