import Foundation
import TensorCore
import TestSupport
import Testing

/// The iteration alone, against the references' and against its own definition.
@Suite struct NewtonSchulzTests {
    static func orthogonalize(
        _ values: [Float], _ shape: [Int], _ precision: NewtonSchulz.Precision,
        _ coefficients: NewtonSchulz.Coefficients = .quintic, steps: Int = 5, norm: Double? = nil
    ) -> [Float] {
        let x = Tensor<Float>(shape)
        for index in values.indices { x.data[index] = values[index] }
        let iteration = NewtonSchulz(coefficients: coefficients, steps: steps, precision: precision)
        func scratch(_ arena: Arena) -> NewtonSchulz.Scratch {
            iteration.scratch(arena, rows: shape[0], columns: shape[1])
        }
        let arena = Arena { _ = scratch($0) }
        return withExtendedLifetime(arena) {
            let pool = WorkerPool(threads: testWorkers)
            iteration.orthogonalize(
                x.matrix, norm: norm ?? x.matrix.frobeniusNorm(on: pool), scratch(arena), on: pool)
            return Array(x.elements)
        }
    }

    @Test func agreesWithTheReferences() throws {
        for golden in try GoldenCase.all(where: { $0 == "newton_schulz" }) {
            let names = golden.keys.filter { $0.hasSuffix("/in") }.map { String($0.dropLast(3)) }
            #expect(names.count >= 48)
            for name in names {
                let isBF16 = name.contains("bfloat16")
                guard !isBF16 || BFloat16Library.isSupportedByCPU else { continue }
                let (input, output) = (try golden.required("\(name)/in"), try golden.required("\(name)/out"))
                let ours = Self.orthogonalize(
                    input.floats, input.shape, isBF16 ? .bf16 : .fp32,
                    name.hasPrefix("polar_express") ? .polarExpress : .quintic)
                let scale = output.doubles.map(abs).max() ?? 1
                let error = zip(ours, output.doubles).map { abs(Double($0) - $1) }.max() ?? 0
                // Each of them rounds in other places; bfloat16 has 8 significant bits.
                let tolerance = isBF16 ? GoldenTolerance.bf16 : 1e-4
                if ProcessInfo.processInfo.environment["COSMOS_GOLDEN_REPORT"] != nil {
                    print("agreement: \(golden.name) \(name): \(error / scale)")
                }
                #expect(error <= tolerance * scale, "\(name) is off by \(error / scale)")
            }
        }
    }

    /// Blocks, their borders and the mirrored halves: larger than one block, and no multiple of it.
    @Test(.enabled(if: BFloat16Library.isSupportedByCPU), arguments: [[300, 530], [530, 300], [513, 513]])
    func bfloat16FollowsFloat32(_ shape: [Int]) {
        var random = Random(seed: 1, stream: "matrix")
        let values = (0..<shape[0] * shape[1]).map { _ in Float(random.normalPair().0) }
        let (exact, rounded) = (Self.orthogonalize(values, shape, .fp32), Self.orthogonalize(values, shape, .bf16))
        let error = zip(exact, rounded).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
        let size = exact.reduce(0.0) { $0 + Double($1 * $1) }
        #expect((error / size).squareRoot() < 0.02, "\((error / size).squareRoot())")
    }

    /// Several steps on the Gram matrix end as near to the exact iteration as single ones do, where small eigenvalues
    /// are many, equal, or nothing but rounding.
    @Test(arguments: NewtonSchulz.Precision.allCases.filter { $0 == .fp32 || BFloat16Library.isSupportedByCPU })
    func phasesAreAsGoodAsSingleSteps(_ precision: NewtonSchulz.Precision) {
        let (p, q) = (96, 288)
        var random = Random(seed: 1, stream: "matrix")
        func noise(_ rows: Int, _ columns: Int) -> [Double] {
            (0..<rows * columns).map { _ in Double(random.normalPair().0) }
        }
        let full = noise(p, q)
        let inputs: [(String, [Double])] = [
            ("normal", full),
            ("rows twice", Array(full[..<(p / 2 * q)] + full[..<(p / 2 * q)])),
            ("rank 8", Self.product(noise(p, 8), noise(8, q), p, 8, q)),
            ("rows from 1 to 10⁻⁶", (0..<p * q).map { full[$0] * pow(10, -6 * Double($0 / q) / Double(p)) }),
            ("a row of 1000", (0..<p * q).map { $0 < q ? 1000 * full[$0] : full[$0] }),
            ("ones", [Double](repeating: 1, count: p * q)),
        ]
        let phased = NewtonSchulz(precision: precision)
        #expect(phased.phases(rows: p, columns: q).count < phased.steps)
        let abc = NewtonSchulz.Coefficients.usual
        for (name, values) in inputs {
            let norm = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
            var exact = values.map { $0 / norm }
            var single = exact.map(Float.init)
            for _ in 0..<5 {
                let gram = Self.gram(exact, p, q)
                let polynomial = zip(gram, Self.product(gram, gram, p, p, p)).map { abc.y * $0 + abc.z * $1 }
                exact = zip(exact, Self.product(polynomial, exact, p, p, q)).map { abc.x * $0 + $1 }
                single = Self.orthogonalize(single, [p, q], precision, steps: 1, norm: 1)
            }
            func error(_ x: [Float]) -> Double {
                let size = exact.reduce(0) { $0 + $1 * $1 }
                return (zip(x, exact).reduce(0) { $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1) } / size)
                    .squareRoot()
            }
            let ours = error(Self.orthogonalize(values.map(Float.init), [p, q], precision))
            let allowance = precision == .fp32 ? 3e-3 : 0.03
            #expect(ours <= 1.1 * error(single) + allowance, "\(name): \(ours), \(error(single))")
        }
    }

    private static func product(_ a: [Double], _ b: [Double], _ m: Int, _ k: Int, _ n: Int) -> [Double] {
        var c = [Double](repeating: 0, count: m * n)
        for i in 0..<m {
            for l in 0..<k {
                let factor = a[i * k + l]
                for j in 0..<n { c[i * n + j] += factor * b[l * n + j] }
            }
        }
        return c
    }

    private static func gram(_ x: [Double], _ p: Int, _ q: Int) -> [Double] {
        let transposed = (0..<p * q).map { x[$0 % p * q + $0 / p] }
        return product(x, transposed, p, q, p)
    }

    @Test(arguments: NewtonSchulz.Precision.allCases.filter { $0 == .fp32 || BFloat16Library.isSupportedByCPU })
    func zeroStaysZero(_ precision: NewtonSchulz.Precision) {
        #expect(Self.orthogonalize([Float](repeating: 0, count: 35), [5, 7], precision).allSatisfy { $0 == 0 })
    }

    /// Diagonal in, diagonal out: each value through the polynomial five times.
    @Test func singularValuesGoThroughThePolynomial() {
        let values: [Double] = [4, 2, 1, 0.5, 0.01]
        var x = [Float](repeating: 0, count: 5 * 8)
        for (index, value) in values.enumerated() { x[index * 8 + index] = Float(value) }
        let result = Self.orthogonalize(x, [5, 8], .fp32)
        let norm = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
        for (index, value) in values.enumerated() {
            var s = value / norm
            for _ in 0..<5 { s = 3.4445 * s - 4.7750 * s * s * s + 2.0315 * s * s * s * s * s }
            #expect(abs(Double(result[index * 8 + index]) - s) < 1e-5)
        }
    }
}
