import TensorCore

/// An orthonormal basis of r vectors for one side of a matrix, kept as rows: Q, r x n, on the right, P, r x m,
/// on the left. It starts as the leading singular vectors of a gradient.
///
///     project:  R = G Qᵀ  (m x r)     or  R = P G  (r x n)
///     back:     D = R Q               or  D = Pᵀ R
struct LowRankBasis {
    let vectors: Tensor<Float>
    let side: SingularSide

    init(_ state: StateDeclaration, _ side: SingularSide, rank: Int, length: Int) {
        vectors = state.tensor("basis", rank, length)
        self.side = side
    }

    var matrix: Matrix<Float> { vectors.matrix }
    var rank: Int { matrix.rows }

    /// Scratch of a renewal alone: what is taken from the arena next lies over it.
    func scratchOfRenewal(_ arena: Arena, _ rows: Int, _ columns: Int) -> SingularBasisScratch {
        arena.overlaid { SingularBasisScratch(arena, rows: rows, columns: columns, rank: rank) }
    }

    /// See `leadingSingularVectors`.
    func flopsOfRenewal(rows: Int, columns: Int) -> Int {
        let (p, q) = (min(rows, columns), max(rows, columns))
        return p * p * (q + 9 * p) + (matrix.columns > p ? 2 * rank * q * (p + 2 * rank) : 0)
    }

    func renew(from g: Matrix<Float>, _ scratch: SingularBasisScratch, on pool: WorkerPool) throws {
        try leadingSingularVectors(of: g, side, into: matrix, scratch, on: pool)
    }

    /// `packed`: room for the packed basis (`Float.packedCount`).
    func project(
        _ g: Matrix<Float>, into low: Matrix<Float>, packed: UnsafeMutablePointer<Float>? = nil, on pool: WorkerPool
    ) {
        switch (side, packed) {
        case (.left, _): multiply(matrix.plain, g.plain, into: low, on: pool)
        case (.right, let packed?): multiply(g.plain, matrix.transposed, into: low, packing: packed, on: pool)
        case (.right, nil): multiply(g.plain, matrix.transposed, into: low, on: pool)
        }
    }

    /// The product of these is `low` in the original space.
    func factorsBack(_ low: Matrix<Float>) -> (Operand<Float>, Operand<Float>) {
        switch side {
        case .left: (matrix.transposed, low.plain)
        case .right: (low.plain, matrix.plain)
        }
    }
}
