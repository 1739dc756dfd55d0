import TensorCore

/// Linear algebra in Double, as plainly as it can be written, to test against.
struct ReferenceMatrix {
    let rows: Int
    let columns: Int
    var values: [Double]

    init(rows: Int, columns: Int, _ value: (_ row: Int, _ column: Int) -> Double) {
        self.rows = rows
        self.columns = columns
        values = (0..<rows).flatMap { row in (0..<columns).map { value(row, $0) } }
    }

    init(_ matrix: Matrix<Float>) {
        self.init(rows: matrix.rows, columns: matrix.columns) { Double(matrix[$0, $1]) }
    }

    subscript(row: Int, column: Int) -> Double {
        get { values[row * columns + column] }
        set { values[row * columns + column] = newValue }
    }

    var transposed: ReferenceMatrix { ReferenceMatrix(rows: columns, columns: rows) { self[$1, $0] } }

    static func * (a: ReferenceMatrix, b: ReferenceMatrix) -> ReferenceMatrix {
        ReferenceMatrix(rows: a.rows, columns: b.columns) { row, column in
            (0..<a.columns).reduce(0) { $0 + a[row, $1] * b[$1, column] }
        }
    }

    /// The largest difference of an element.
    func distance(to other: ReferenceMatrix) -> Double {
        zip(values, other.values).map { abs($0 - $1) }.max() ?? 0
    }

    static func identity(_ order: Int) -> ReferenceMatrix {
        ReferenceMatrix(rows: order, columns: order) { $0 == $1 ? 1 : 0 }
    }

    /// Jacobi's rotations on a symmetric matrix: eigenvalues, descending, and eigenvectors as rows.
    func eigen() -> (values: [Double], rows: ReferenceMatrix) {
        var (a, vectors) = (self, ReferenceMatrix.identity(rows))
        for _ in 0..<60 {
            for p in 0..<rows {
                for q in p + 1..<max(rows, p + 1) where abs(a[p, q]) > 1e-300 {
                    let theta = (a[q, q] - a[p, p]) / (2 * a[p, q])
                    let t = (theta >= 0 ? 1 : -1) / (abs(theta) + (theta * theta + 1).squareRoot())
                    let c = 1 / (t * t + 1).squareRoot()
                    let s = t * c
                    for k in 0..<rows {
                        (a[k, p], a[k, q]) = (c * a[k, p] - s * a[k, q], s * a[k, p] + c * a[k, q])
                    }
                    for k in 0..<rows {
                        (a[p, k], a[q, k]) = (c * a[p, k] - s * a[q, k], s * a[p, k] + c * a[q, k])
                        (vectors[p, k], vectors[q, k]) = (
                            c * vectors[p, k] - s * vectors[q, k], s * vectors[p, k] + c * vectors[q, k]
                        )
                    }
                }
            }
        }
        let order = (0..<rows).sorted { a[$0, $0] > a[$1, $1] }
        return (order.map { a[$0, $0] }, ReferenceMatrix(rows: rows, columns: rows) { vectors[order[$0], $1] })
    }
}

/// A float matrix of normal numbers.
func randomMatrix(_ rows: Int, _ columns: Int, seed: UInt64 = 1) -> Tensor<Float> {
    let tensor = Tensor<Float>(rows, columns)
    var random = Random(seed: seed, stream: "matrix")
    for index in 0..<tensor.count { tensor.data[index] = Float(random.normalPair().0) }
    return tensor
}
