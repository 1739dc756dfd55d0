/// Orthogonalization by Newton-Schulz iteration (Jordan et al. 2024, "Muon"; Bernstein and Newhouse
/// 2024): replaces the singular values of a matrix by values near 1, without computing any.
///
///     X <- X / (|X| + eps)                                       |.| is Frobenius's norm
///     X <- aX + bAX + cA²X,  A = X Xᵀ      `steps` times          (for tall X: A = Xᵀ X on the right)
///
/// With the usual five steps of (3.4445, -4.7750, 2.0315) singular values end in [0.68, 1.15], those
/// below about 1/500 of |X| excepted; the polynomial gives up exactness for a steep slope at 0.
///
/// **Numerics.** `bf16` rounds after each operation as PyTorch does on bfloat16 tensors; the products
/// of bfloat16 numbers are exact in float32, where they are summed. `fp32` rounds nowhere else, and
/// adds a to the diagonal instead of adding aX.
///
/// **Cost.** With p the smaller and q the larger dimension: fp32 `steps` (3 p² q + p³) FLOPs, since the
/// products with the own transpose take half; bf16 `steps` (4 p² q + 2 p³).
public struct NewtonSchulz: Sendable {
    public enum Precision: String, CaseIterable, Sendable { case fp32, bf16 }

    public let coefficients: SIMD3<Float>
    public let steps: Int
    public let precision: Precision

    /// Added to the norm that the matrix is divided by.
    static let eps: Float = 1e-7

    /// The usual coefficients.
    public static let quintic = SIMD3<Double>(3.4445, -4.7750, 2.0315)

    public init(coefficients: SIMD3<Double> = quintic, steps: Int = 5, precision: Precision = .fp32) {
        self.coefficients = SIMD3(coefficients)
        self.steps = steps
        self.precision = precision
    }

    /// Scratch for one m x n matrix.
    public struct Scratch {
        fileprivate let gram: Matrix<Float>
        fileprivate let polynomial: Matrix<Float>
        fileprivate let next: Matrix<Float>

        public init(_ arena: Arena, rows: Int, columns: Int) {
            let order = min(rows, columns)
            gram = arena.matrix(order, order)
            polynomial = arena.matrix(order, order)
            next = arena.matrix(rows, columns)
        }
    }

    /// Orthogonalizes `x`, which it overwrites; the result is where the return value says, in `x` or in
    /// the scratch. Zero stays zero; a value that is not finite makes the result NaN.
    public func orthogonalize(_ x: Matrix<Float>, _ scratch: Scratch) -> Matrix<Float> {
        precondition(x.isContiguous, "Newton-Schulz on a matrix with gaps")
        normalize(x)
        var (current, next) = (x, scratch.next)
        for _ in 0..<steps {
            switch precision {
            case .fp32: step(current, into: next, scratch)
            case .bf16: roundedStep(current, into: next, scratch)
            }
            swap(&current, &next)
        }
        return current
    }

    /// x / (|x| + eps).
    private func normalize(_ x: Matrix<Float>) {
        switch precision {
        case .fp32:
            let norm = Lanes(repeating: Float(x.frobeniusNorm) + NewtonSchulz.eps)
            x.apply { $0 / norm }
        case .bf16:
            x.apply { $0.roundedToBFloat16 }
            let norm = Lanes(repeating: BFloat16(Float(x.frobeniusNorm)).float + NewtonSchulz.eps).roundedToBFloat16
            x.apply { ($0 / norm).roundedToBFloat16 }
        }
    }

    /// next = (aI + bA + cA²) x.
    private func step(_ x: Matrix<Float>, into next: Matrix<Float>, _ scratch: Scratch) {
        let (gram, polynomial) = (scratch.gram, scratch.polynomial)
        multiplyByOwnTranspose(x.rows > x.columns ? x.transposed : x.plain, into: gram)
        multiplyByOwnTranspose(gram.plain, into: polynomial, alpha: coefficients.z)
        let b = Lanes(repeating: coefficients.y)
        polynomial.combine(with: gram) { square, gram in gram.multiplyAdd(b, square) }
        for index in 0..<polynomial.rows { polynomial[index, index] += coefficients.x }
        multiply(polynomial, x, into: next)
    }

    /// next = ax + (bA + (cA)A) x, each operation rounded.
    private func roundedStep(_ x: Matrix<Float>, into next: Matrix<Float>, _ scratch: Scratch) {
        let (gram, polynomial) = (scratch.gram, scratch.polynomial)
        let (a, b, c) = (
            Lanes(repeating: coefficients.x), Lanes(repeating: coefficients.y), Lanes(repeating: coefficients.z)
        )
        multiplyByOwnTranspose(x.rows > x.columns ? x.transposed : x.plain, into: gram)
        gram.apply { $0.roundedToBFloat16 }
        // cA stands where the next iterate will: that one is never smaller.
        let scaled = Matrix(next.base, rows: gram.rows, columns: gram.columns, stride: gram.columns)
        scaled.combine(with: gram) { _, gram in (c * gram).roundedToBFloat16 }
        TensorCore.multiply(scaled.plain, gram.plain, into: polynomial)
        polynomial.combine(with: gram) { square, gram in
            ((b * gram).roundedToBFloat16 + square.roundedToBFloat16).roundedToBFloat16
        }
        multiply(polynomial, x, into: next)
        next.combine(with: x) { product, x in
            ((a * x).roundedToBFloat16 + product.roundedToBFloat16).roundedToBFloat16
        }
    }

    /// The product with a square matrix, from the side of the smaller dimension; transposed from the
    /// right, since the references work on xᵀ there.
    private func multiply(_ square: Matrix<Float>, _ x: Matrix<Float>, into y: Matrix<Float>) {
        if x.rows > x.columns {
            TensorCore.multiply(x.plain, square.transposed, into: y)
        } else {
            TensorCore.multiply(square.plain, x.plain, into: y)
        }
    }
}

extension SIMD16 where Scalar == Float {
    /// Each lane rounded to bfloat16, to nearest, ties to even. Infinity and NaN stay.
    @inline(__always)
    fileprivate var roundedToBFloat16: Lanes {
        let bits = unsafeBitCast(self, to: SIMD16<UInt32>.self)
        let rounded = (bits &+ 0x7fff &+ ((bits &>> 16) & 1)) & 0xffff_0000
        return unsafeBitCast(rounded, to: Lanes.self).replacing(with: self, where: self .!= self)
    }
}
