/// Orthogonalization by Newton-Schulz iteration (Jordan et al. 2024, "Muon"; Bernstein and Newhouse
/// 2024): replaces the singular values of a matrix by values near 1, without computing any.
///
///     X <- X / (|X| + eps)                                       |.| is Frobenius's norm
///     X <- aX + bAX + cA²X,  A = X Xᵀ      `steps` times          (for tall X: A = Xᵀ X on the right)
///
/// With the usual five steps of (3.4445, -4.7750, 2.0315) singular values end in [0.68, 1.15], those
/// below about 1/500 of |X| excepted; the polynomial gives up exactness for a steep slope at 0.
///
/// **Numerics.** `fp32` rounds nowhere but in its products, and adds a to the diagonal instead of
/// adding aX. `bf16` keeps X, A and bA + cA² as bfloat16, each rounded once from sums in float32, as
/// `torch.optim.Muon` does; it needs a CPU that has instructions for it.
///
/// **Cost.** With p the smaller and q the larger dimension: `steps` (3 p² q + p³) FLOPs, since the
/// products with the own transpose take half (in bf16, where they are cut into tiles, somewhat more).
public struct NewtonSchulz: Sendable {
    public enum Precision: String, CaseIterable, Sendable { case fp32, bf16 }

    public let coefficients: SIMD3<Float>
    public let steps: Int
    public let precision: Precision

    /// Added to the norm that the matrix is divided by.
    static let eps: Float = 1e-7

    public static let quintic = SIMD3<Double>(3.4445, -4.7750, 2.0315)

    public init(coefficients: SIMD3<Double> = quintic, steps: Int = 5, precision: Precision = .fp32) {
        self.coefficients = SIMD3(coefficients)
        self.steps = steps
        self.precision = precision
    }

    public enum Scratch {
        case fp32(gram: Matrix<Float>, polynomial: Matrix<Float>, next: Matrix<Float>)
        case bf16(BFloat16NewtonSchulz.Scratch)
    }

    public func scratch(_ arena: Arena, rows: Int, columns: Int) -> Scratch {
        let order = min(rows, columns)
        return switch precision {
        case .fp32:
            .fp32(
                gram: arena.matrix(order, order), polynomial: arena.matrix(order, order),
                next: arena.matrix(rows, columns))
        case .bf16: .bf16(BFloat16NewtonSchulz.Scratch(arena, rows: rows, columns: columns))
        }
    }

    public func flops(rows: Int, columns: Int) -> Int {
        let (p, q) = (min(rows, columns), max(rows, columns))
        return steps * (3 * p * p * q + p * p * p)
    }

    /// Orthogonalizes `x`, which it overwrites; the result is where the return value says, in `x` or in
    /// the scratch. Zero stays zero; a value that is not finite makes the result NaN. Idle workers of `pool` help.
    public func orthogonalize(_ x: Matrix<Float>, _ scratch: Scratch, on pool: WorkerPool) -> Matrix<Float> {
        require(x.isContiguous, "Newton-Schulz on a matrix with gaps")
        switch scratch {
        case .fp32(let gram, let polynomial, let next):
            let norm = Lanes(repeating: Float(x.frobeniusNorm(on: pool)) + NewtonSchulz.eps)
            x.apply(on: pool) { $0 / norm }
            var (current, next) = (x, next)
            for _ in 0..<steps {
                step(current, into: next, gram, polynomial, pool)
                swap(&current, &next)
            }
            return current
        case .bf16(let scratch):
            BFloat16NewtonSchulz(coefficients: coefficients, steps: steps).orthogonalize(x, scratch, on: pool)
            return x
        }
    }

    /// next = (aI + bA + cA²) x.
    private func step(
        _ x: Matrix<Float>, into next: Matrix<Float>, _ gram: Matrix<Float>, _ polynomial: Matrix<Float>,
        _ pool: WorkerPool
    ) {
        multiplyByOwnTranspose(x.rows > x.columns ? x.transposed : x.plain, into: gram, on: pool)
        multiplyByOwnTranspose(gram.plain, into: polynomial, alpha: coefficients.z, on: pool)
        let b = Lanes(repeating: coefficients.y)
        polynomial.combine(with: gram, on: pool) { square, gram in gram.multiplyAdd(b, square) }
        for index in 0..<polynomial.rows { polynomial[index, index] += coefficients.x }
        if x.rows > x.columns {
            multiply(x.plain, polynomial.plain, into: next, on: pool)
        } else {
            multiply(polynomial.plain, x.plain, into: next, on: pool)
        }
    }
}
