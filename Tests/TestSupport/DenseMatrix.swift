import TensorCore

/// A matrix in double precision with plain loops, for the references that tests compare with.
public struct DenseMatrix {
    public let rows: Int
    public let columns: Int
    /// In row-major order.
    public var values: [Double]

    /// Zero.
    public init(_ rows: Int, _ columns: Int) {
        self.init(rows, columns, [Double](repeating: 0, count: rows * columns))
    }

    public init(_ rows: Int, _ columns: Int, _ values: [Double]) {
        precondition(values.count == rows * columns, "\(values.count) values for \(rows)x\(columns)")
        (self.rows, self.columns, self.values) = (rows, columns, values)
    }

    public init(_ matrix: Matrix<Float>) {
        self.init(
            matrix.rows, matrix.columns,
            (0..<matrix.rows).flatMap { row in (0..<matrix.columns).map { Double(matrix[row, $0]) } })
    }

    public subscript(row: Int, column: Int) -> Double {
        get { values[row * columns + column] }
        set { values[row * columns + column] = newValue }
    }

    public func map(_ transform: (Double) -> Double) -> DenseMatrix { .init(rows, columns, values.map(transform)) }

    /// Element by element.
    public func combined(with other: DenseMatrix, _ transform: (Double, Double) -> Double) -> DenseMatrix {
        precondition(rows == other.rows && columns == other.columns)
        return .init(rows, columns, zip(values, other.values).map { transform($0, $1) })
    }

    public static func + (a: DenseMatrix, b: DenseMatrix) -> DenseMatrix { a.combined(with: b, +) }
    public static func - (a: DenseMatrix, b: DenseMatrix) -> DenseMatrix { a + -1 * b }
    public static func * (factor: Double, a: DenseMatrix) -> DenseMatrix { a.map { factor * $0 } }

    /// The matrix product.
    public static func * (a: DenseMatrix, b: DenseMatrix) -> DenseMatrix {
        precondition(a.columns == b.rows)
        var product = DenseMatrix(a.rows, b.columns)
        for i in 0..<a.rows {
            for j in 0..<b.columns { product[i, j] = (0..<a.columns).reduce(0) { $0 + a[i, $1] * b[$1, j] } }
        }
        return product
    }

    public var transposed: DenseMatrix {
        var result = DenseMatrix(columns, rows)
        for i in 0..<rows { for j in 0..<columns { result[j, i] = self[i, j] } }
        return result
    }

    /// Frobenius's.
    public var norm: Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }

    public func largestDifference(from other: DenseMatrix) -> Double {
        zip(values, other.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
    }

    /// Orthogonalized as Muon does: X <- aX + bAX + cA²X, A = X Xᵀ.
    public func newtonSchulz(steps: Int = 5) -> DenseMatrix {
        var x = 1 / (norm + 1e-7) * self
        for _ in 0..<steps {
            let ax = x * (x.transposed * x)
            x = 3.4445 * x - 4.7750 * ax + 2.0315 * (x * (x.transposed * ax))
        }
        return x
    }
}
