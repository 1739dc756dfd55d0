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
        let power = Matrix(scratch.free, rows: n, columns: n, stride: n)
        scratch.multiply(basis.plain, gram.plain, into: power, on: pool)
        guard power.isFinite(on: pool) else { throw NumericalFailure("the preconditioner is not finite") }
        let eigenvalues = scratch.eigenvalues
        ranges(of: n, size: 64).forEach(on: pool) { rows in
            for row in rows {
                var sum = Lanes.zero
                let (q, p) = (basis.row(row), power.row(row))
                forEachLanes(n) { offset, count in
                    sum = Float.load(q + offset, count: count).multiplyAdd(Float.load(p + offset, count: count), sum)
                }
                eigenvalues[row] = sum.laneSum
            }
        }
        // Each one's place is the number of those before it; equal ones keep their order.
        ranges(of: n, size: 64).forEach(on: pool) { rows in
            for row in rows {
                let value = eigenvalues[row]
                var place = 0
                for other in 0..<row { place += eigenvalues[other] >= value ? 1 : 0 }
                for other in row..<n { place += eigenvalues[other] > value ? 1 : 0 }
                scratch.order[place] = row
                basis.row(place).update(from: power.row(row), count: n)
            }
        }
        try orthonormalizeRows(basis, scratch.orthonormalization, on: pool)
        return UnsafeMutableBufferPointer(start: scratch.order, count: n)
    }
}

/// Scratch of a power step, and of products with bases.
struct PowerStepScratch {
    let eigenvalues: UnsafeMutablePointer<Float>
    let order: UnsafeMutablePointer<Int>
    let orthonormalization: OrthonormalizationScratch
    /// A packed right operand.
    private let packed: UnsafeMutablePointer<Float>

    /// For matrices whose longer side, if it has a basis, is `longest`, and no operand has more than `largest` elements.
    init(_ arena: Arena, longest: Int, rows: Int, columns: Int) {
        eigenvalues = arena.array(longest, of: Float.self)
        order = arena.array(longest, of: Int.self)
        orthonormalization = OrthonormalizationScratch(arena, rows: longest, columns: longest)
        let shapes = [(longest, longest), (rows, columns)]
        packed = arena.array(shapes.map { Float.packedCount(rows: $0, columns: $1) }.max() ?? 0, of: Float.self)
    }

    /// Room for a basis.
    var free: UnsafeMutablePointer<Float> { orthonormalization.result }

    /// y = a b, where none of them lies in `free` if a is transposed.
    func multiply(_ a: Operand<Float>, _ b: Operand<Float>, into y: Matrix<Float>, on pool: WorkerPool) {
        TensorCore.multiply(a, b, into: y, packing: packed, transposing: free, on: pool)
    }
}
