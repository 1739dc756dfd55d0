import TensorCore
import TestSupport
import Testing

@Suite struct LinearAlgebraTests {
    static let shapes = [[1, 1], [1, 7], [3, 3], [5, 17], [33, 64], [64, 200], [70, 70]]

    private func orthonormalize(_ a: Matrix<Float>) throws {
        func scratch(_ arena: Arena) -> OrthonormalizationScratch {
            OrthonormalizationScratch(arena, rows: a.rows, columns: a.columns)
        }
        let arena = Arena { _ = scratch($0) }
        try withExtendedLifetime(arena) {
            try orthonormalizeRows(a, scratch(arena), on: WorkerPool(threads: testWorkers))
        }
    }

    /// The later ones have several blocks of reflections.
    @Test(arguments: shapes + [[128, 128], [129, 129], [200, 333], [300, 300]])
    func rowsBecomeAnOrthonormalBasisOfTheirSpans(_ shape: [Int]) throws {
        let a = randomMatrix(shape[0], shape[1])
        let before = ReferenceMatrix(a.matrix)
        try orthonormalize(a.matrix)
        let q = ReferenceMatrix(a.matrix)
        #expect((q * q.transposed).distance(to: .identity(shape[0])) < 1e-5)
        // before = L q with L lower triangular.
        let factor = before * q.transposed
        #expect((factor * q).distance(to: before) < 1e-4)
        for row in 0..<factor.rows {
            for column in row + 1..<max(factor.columns, row + 1) { #expect(abs(factor[row, column]) < 1e-4) }
        }
    }

    /// LAPACK's: a reflection takes its row to the other side of 0; where nothing is left to reflect, there is none.
    @Test(
        arguments: [
            ([3, 0, 0, 2], [1, 0, 0, 1]), ([3, 1, 0, 2], [-3, -1, -1, 3]), ([-3, 1, 0, 2], [-3, 1, 1, 3]),
        ] as [([Float], [Float])])
    func signsAreThoseOfReflections(_ values: [Float], _ expected: [Float]) throws {
        let a = Tensor<Float>(2, 2)
        for index in values.indices { a.data[index] = values[index] }
        try orthonormalize(a.matrix)
        let size = (expected[0] * expected[0] + expected[1] * expected[1]).squareRoot()
        for index in values.indices { #expect(abs(a.data[index] - expected[index] / size) < 1e-6) }
    }

    @Test(arguments: [6, 140]) func dependentAndZeroRowsAreCompleted(_ count: Int) throws {
        let a = randomMatrix(count, count + 3)
        a.matrix.row(3).update(from: a.matrix.row(1), count: count + 3)
        a.matrix.row(count - 2).update(repeating: 0, count: count + 3)
        try orthonormalize(a.matrix)
        let q = ReferenceMatrix(a.matrix)
        #expect((q * q.transposed).distance(to: .identity(count)) < 1e-5)
    }

    /// A basis depends on the rows' directions alone, as far as float reaches.
    @Test(arguments: [Float(0x1p-100), 0x1p60]) func sizeDoesNotMatter(_ scale: Float) throws {
        let (a, b) = (randomMatrix(40, 50), randomMatrix(40, 50))
        b.matrix.apply { $0 * scale }
        try orthonormalize(a.matrix)
        try orthonormalize(b.matrix)
        #expect(ReferenceMatrix(a.matrix).distance(to: ReferenceMatrix(b.matrix)) < 1e-6)
    }

    @Test(arguments: [1, 2, 5, 40, 70])
    func eigenvectorsAreJacobis(_ order: Int) throws {
        let g = randomMatrix(order, order + 3)
        let gram = Tensor<Float>(order, order)
        multiplyByOwnTranspose(g.matrix.plain, into: gram.matrix)
        let (values, _) = ReferenceMatrix(gram.matrix).eigen()
        let original = ReferenceMatrix(gram.matrix)

        let arena = Arena { _ = EigenScratch<Float>($0, order: order) }
        let scratch = EigenScratch<Float>(arena, order: order)
        try eigenvectorRows(ofSymmetric: gram.matrix, scratch)
        let q = ReferenceMatrix(gram.matrix)
        #expect((q * q.transposed).distance(to: .identity(order)) < 1e-5)
        let diagonal = q * original * q.transposed
        for row in 0..<order {
            // Ascending here, descending there.
            #expect(abs(diagonal[row, row] - values[order - 1 - row]) < 1e-5 * values[0])
            #expect(abs(Double(scratch.values[row]) - values[order - 1 - row]) < 1e-5 * values[0])
            for column in 0..<row { #expect(abs(diagonal[row, column]) < 1e-5 * values[0]) }
        }
    }

    @Test(arguments: [Float.nan, .infinity])
    func valuesThatAreNotFiniteAreRefused(_ value: Float) throws {
        let arena = Arena(byteCount: 1 << 20)
        let (square, wide) = (randomMatrix(8, 8), randomMatrix(4, 9))
        square.matrix[5, 6] = value
        wide.matrix[3, 8] = value
        #expect(throws: NumericalFailure.self) {
            try eigenvectorRows(ofSymmetric: square.matrix, EigenScratch<Float>(arena, order: 8))
        }
        #expect(throws: NumericalFailure.self) {
            try orthonormalize(wide.matrix)
        }
        for side in [SingularSide.left, .right] {
            let basis = Tensor<Float>(2, side == .left ? 4 : 9)
            #expect(throws: NumericalFailure.self) {
                try leadingSingularVectors(
                    of: wide.matrix, side, into: basis.matrix,
                    SingularBasisScratch(arena, rows: 4, columns: 9, rank: 2), on: WorkerPool(threads: testWorkers))
            }
        }
    }

    @Test(arguments: [[7, 12], [12, 7], [9, 9], [1, 5], [5, 1], [40, 33]], [SingularSide.left, .right])
    func singularVectorsDiagonalizeTheGramMatrix(_ shape: [Int], _ side: SingularSide) throws {
        let g = randomMatrix(shape[0], shape[1])
        let length = side == .left ? shape[0] : shape[1]
        for rank in Set([1, min(3, length), length]) {
            let arena = Arena(
                byteCount: Arena.byteCount {
                    _ = SingularBasisScratch($0, rows: shape[0], columns: shape[1], rank: rank)
                })
            let basis = Tensor<Float>(rank, length)
            try leadingSingularVectors(
                of: g.matrix, side, into: basis.matrix,
                SingularBasisScratch(arena, rows: shape[0], columns: shape[1], rank: rank),
                on: WorkerPool(threads: testWorkers))

            let reference = ReferenceMatrix(g.matrix)
            let gram = side == .left ? reference * reference.transposed : reference.transposed * reference
            let (values, _) = gram.eigen()
            let b = ReferenceMatrix(basis.matrix)
            #expect((b * b.transposed).distance(to: .identity(rank)) < 1e-5)
            let diagonal = b * gram * b.transposed
            for row in 0..<rank {
                #expect(abs(diagonal[row, row] - values[row]) < 1e-5 * values[0])
                for column in 0..<row { #expect(abs(diagonal[row, column]) < 1e-5 * values[0]) }
                let vector = (0..<length).map { b[row, $0] }
                #expect(vector.first { abs($0) == vector.map(abs).max() } ?? 0 > 0, "the sign is not canonical")
            }
        }
    }

    /// Singular values that fall to 10⁻⁶ of the largest: squared in float, they would be lost.
    @Test func smallSingularValuesKeepTheirVectors() throws {
        let (rows, columns, rank) = (24, 40, 12)
        let (u, v) = (randomMatrix(rows, rows, seed: 2), randomMatrix(rows, columns, seed: 3))
        let arena = Arena(byteCount: 1 << 20)
        try orthonormalize(u.matrix)
        try orthonormalize(v.matrix)
        let (left, right) = (ReferenceMatrix(u.matrix), ReferenceMatrix(v.matrix))
        let product = ReferenceMatrix(rows: rows, columns: columns) { row, column in
            (0..<rows).reduce(0) { sum, index in
                var value = 1.0
                for _ in 0..<index { value *= 0.316 }
                return sum + left[index, row] * value * right[index, column]
            }
        }
        let g = Tensor<Float>(rows, columns)
        for index in 0..<g.count { g.data[index] = Float(product.values[index]) }
        for (side, truth) in [(SingularSide.left, left), (.right, right)] {
            let basis = Tensor<Float>(rank, truth.columns)
            arena.reset()
            try leadingSingularVectors(
                of: g.matrix, side, into: basis.matrix,
                SingularBasisScratch(arena, rows: rows, columns: columns, rank: rank),
                on: WorkerPool(threads: testWorkers))
            for row in 0..<rank {
                let cosine = (0..<truth.columns).reduce(0) { $0 + Double(basis.matrix[row, $1]) * truth[row, $1] }
                #expect(abs(cosine) > 0.99, "vector \(row) of the \(side) side")
            }
        }
    }

    @Test(arguments: shapes)
    func productWithTheOwnTransposeIsTheGeneralProduct(_ shape: [Int]) {
        let a = randomMatrix(shape[0], shape[1])
        for isPlain in [true, false] {
            let order = isPlain ? shape[0] : shape[1]
            let c = randomMatrix(order, order, seed: 5)
            for row in 0..<order { for column in 0..<row { c.matrix[row, column] = c.matrix[column, row] } }
            let before = ReferenceMatrix(c.matrix)
            multiplyByOwnTranspose(isPlain ? a.matrix.plain : a.matrix.transposed, into: c.matrix, alpha: 0.5, beta: 2)
            let reference = ReferenceMatrix(a.matrix)
            let product = isPlain ? reference * reference.transposed : reference.transposed * reference
            let expected = ReferenceMatrix(rows: order, columns: order) { 0.5 * product[$0, $1] + 2 * before[$0, $1] }
            #expect(ReferenceMatrix(c.matrix).distance(to: expected) < 1e-4)
            for row in 0..<order { for column in 0..<row { #expect(c.matrix[row, column] == c.matrix[column, row]) } }
        }
    }
}
