import TensorCore

/// One side of Shampoo's preconditioner: L, an average of G Gᵀ, with an approximation Q of its eigenvectors, kept as
/// the rows of Qᵀ; or R, of Gᵀ G.
struct Preconditioner {
    let gram: Tensor<Float>
    let basis: Tensor<Float>

    init(_ state: StateDeclaration, side: String, order: Int) {
        gram = state.tensor("gram_\(side)", order, order)
        basis = state.tensor("q_\(side)", order, order)
    }

    var order: Int { gram.shape[0] }

    /// L <- decay L + weight x xᵀ
    func average(_ x: Operand<Float>, weight: Double, decay: Double, on pool: WorkerPool) {
        multiplyByOwnTranspose(x, into: gram.matrix, alpha: Float(weight), beta: Float(decay), on: pool)
    }

    /// Q <- eigenvectors of L by descending eigenvalue.
    func setEigenbasis(_ scratch: EigenScratch<Float>) throws {
        let basis = basis.matrix
        basis.copy(from: gram.matrix)
        try eigenvectorRows(ofSymmetric: basis, scratch)
        // They come by ascending eigenvalue: the rows in reverse.
        for row in 0..<basis.rows / 2 {
            let other = basis.row(basis.rows - 1 - row)
            for column in 0..<basis.columns { swap(&basis.row(row)[column], &other[column]) }
        }
    }

    /// Q <- orthonormal factor of L Q, its columns first sorted by descending qᵀ L q. Returns the order: the
    /// new column i was column `order[i]`.
    func powerStep(_ scratch: PowerStepScratch, on pool: WorkerPool) throws -> UnsafeMutableBufferPointer<Int> {
        let (gram, basis) = (gram.matrix, basis.matrix)
        let n = basis.rows
        let power = Matrix(scratch.orthonormalization.result, rows: n, columns: n, stride: n)
        multiply(basis.plain, gram.plain, into: power, on: pool)
        guard power.isFinite(on: pool) else { throw NumericalFailure("the preconditioner is not finite") }
        let eigenvalues = scratch.eigenvalues
        for row in 0..<n {
            var sum = Lanes.zero
            let (q, p) = (basis.row(row), power.row(row))
            forEachLanes(n) { offset, count in
                sum = Float.load(q + offset, count: count).multiplyAdd(Float.load(p + offset, count: count), sum)
            }
            eigenvalues[row] = sum.laneSum
        }
        // Each one's place is the number of those before it; equal ones keep their order.
        for row in 0..<n {
            var place = 0
            for other in 0..<n
            where eigenvalues[other] > eigenvalues[row] || (eigenvalues[other] == eigenvalues[row] && other < row) {
                place += 1
            }
            scratch.order[place] = row
        }
        for row in 0..<n { basis.row(row).update(from: power.row(scratch.order[row]), count: n) }
        try orthonormalizeRows(basis, scratch.orthonormalization, on: pool)
        return UnsafeMutableBufferPointer(start: scratch.order, count: n)
    }
}

struct PowerStepScratch {
    let eigenvalues: UnsafeMutablePointer<Float>
    let order: UnsafeMutablePointer<Int>
    let orthonormalization: OrthonormalizationScratch

    init(_ arena: Arena, longest: Int) {
        eigenvalues = arena.array(longest, of: Float.self)
        order = arena.array(longest, of: Int.self)
        orthonormalization = OrthonormalizationScratch(arena, rows: longest, columns: longest)
    }
}
