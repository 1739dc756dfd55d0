import TensorCore
import Testing

/// Products and passes in tiles: what the whole ones give, and the same bits whoever helps.
@Suite struct SharedProductTests {
    /// Odd, so that no tile is like another; large enough to be cut.
    static let (m, n, k) = (523, 300, 129)

    private final class Case: Sendable {
        let a = randomMatrix(m, k)
        let b = randomMatrix(n, k, seed: 2)
        let product = randomMatrix(m, n, seed: 3)
        let gram = Tensor<Float>(m, m)
        let combined = randomMatrix(m, k, seed: 4)
        let orthogonal = randomMatrix(k, n, seed: 5)
        let orthonormal = randomMatrix(210, n, seed: 6)
        /// By a packed operand, from rows and from a transpose.
        let packed = Tensor<Float>(m, n)
        let projected = Tensor<Float>(k, n)
        let norm = Tensor<Float>(1)

        func run(on pool: WorkerPool) throws {
            multiply(a.matrix.plain, b.matrix.transposed, into: product.matrix, alpha: 0.5, beta: 2, on: pool)
            multiplyByOwnTranspose(a.matrix.plain, into: gram.matrix, alpha: 3, on: pool)
            combined.matrix.combine(with: a.matrix, on: pool) { $0 + $1 }
            combined.matrix.apply(on: pool) { $0 * 2 }
            func scratch(_ arena: Arena) -> OrthonormalizationScratch {
                OrthonormalizationScratch(arena, rows: orthonormal.shape[0], columns: n)
            }
            let memory = Arena { _ = scratch($0) }
            try orthonormalizeRows(orthonormal.matrix, scratch(memory), on: pool)
            let right = Tensor<Float>(max(1, Float.packedCount(rows: m, columns: n)))
            let left = Tensor<Float>(k, m)
            multiply(a.matrix.plain, b.matrix.transposed, into: packed.matrix, packing: right.data, on: pool)
            multiply(
                a.matrix.transposed, packed.matrix.plain, into: projected.matrix, packing: right.data,
                transposing: left.data, on: pool)
            norm.data[0] = Float(
                multiplyTakingNorm(a.matrix.plain, b.matrix.transposed, into: product.matrix, beta: 1, on: pool))
            for precision in NewtonSchulz.Precision.allCases
            where precision == .fp32 || BFloat16Library.isSupportedByCPU {
                let newtonSchulz = NewtonSchulz(steps: 2, precision: precision)
                let arena = Arena { _ = newtonSchulz.scratch($0, rows: k, columns: n) }
                let scratch = newtonSchulz.scratch(arena, rows: k, columns: n)
                newtonSchulz.orthogonalize(orthogonal.matrix, scratch, on: pool)
            }
        }

        var bits: [UInt32] {
            [product, gram, combined, orthogonal, orthonormal, packed, projected, norm].flatMap {
                $0.elements.map(\.bitPattern)
            }
        }
    }

    @Test func tilesGiveTheWhole() throws {
        let shared = Case()
        try shared.run(on: WorkerPool(threads: 3))
        let (a, b) = (ReferenceMatrix(shared.a.matrix), ReferenceMatrix(shared.b.matrix))
        let (before, others) = (randomMatrix(Self.m, Self.n, seed: 3), randomMatrix(Self.m, Self.k, seed: 4))
        let (product, gram, combined) = (shared.product.matrix, shared.gram.matrix, shared.combined.matrix)
        let (exact, exactGram) = (a * b.transposed, a * a.transposed)
        let exactProjected = a.transposed * exact
        var errors = [0.0, 0, 0, 0, 0, 0]
        func note(_ index: Int, _ value: Float, _ expected: Double) {
            errors[index] = max(errors[index], abs(Double(value) - expected))
        }
        for row in 0..<Self.m {
            for column in 0..<Self.n {
                note(0, product[row, column], 1.5 * exact[row, column] + 2 * Double(before.matrix[row, column]))
                note(4, shared.packed.matrix[row, column], exact[row, column])
            }
            for column in 0..<Self.m {
                note(1, gram[row, column], 3 * exactGram[row, column])
                note(2, gram[row, column], Double(gram[column, row]))
            }
            for column in 0..<Self.k {
                note(3, combined[row, column], Double(2 * (others.matrix[row, column] + shared.a.matrix[row, column])))
            }
        }
        for row in 0..<Self.k {
            for column in 0..<Self.n {
                note(5, shared.projected.matrix[row, column], exactProjected[row, column])
            }
        }
        #expect(errors[0] < 1e-4 && errors[1] < 1e-3 && errors[2] == 0 && errors[3] == 0, "\(errors)")
        #expect(errors[4] < 1e-4 && errors[5] < 5e-3, "\(errors)")
        #expect(abs(Double(shared.norm.data[0]) / product.frobeniusNorm(on: WorkerPool(threads: 1)) - 1) < 1e-6)
        #expect(shared.product.matrix.isFinite(on: WorkerPool(threads: 1)))
        shared.product.matrix[Self.m - 1, Self.n - 1] = .nan
        #expect(!shared.product.matrix.isFinite(on: WorkerPool(threads: 1)))
    }

    /// Alone, and several within the blocks of another call.
    @Test(arguments: [1, 3, 16]) func bitsDoNotDependOnWhoHelps(_ workers: Int) throws {
        let expected = Case()
        try expected.run(on: WorkerPool(threads: 1))
        let pool = WorkerPool(threads: workers)
        let cases = (0..<5).map { _ in Case() }
        try pool.forEach(cases.count, cancellation: nil) { index, _ in try cases[index].run(on: pool) }
        let bits = expected.bits
        for made in cases { #expect(made.bits == bits) }
    }
}
