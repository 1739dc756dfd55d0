import TensorCore
import Testing

/// Products of strided views, plain and transposed, against a naive Double loop.
@Suite struct MatMulTests {
    @Test(arguments: [1, 5], [(false, false), (false, true), (true, false), (true, true)]) func product(
        rows m: Int, transposed: (a: Bool, b: Bool)
    ) {
        let (n, k) = (7, 11)
        let (aTransposed, bTransposed) = transposed
        var random = Random(seed: 3, stream: "product")
        func view(_ rows: Int, _ columns: Int) -> (Tensor<Float>, Matrix<Float>) {
            let memory = Tensor<Float>(rows, columns + 3)
            for i in 0..<memory.count { memory.data[i] = Float(random.normalPair().0) }
            return (memory, memory.matrix.columns(2..<2 + columns))
        }
        let (aMemory, a) = aTransposed ? view(k, m) : view(m, k)
        let (bMemory, b) = bTransposed ? view(n, k) : view(k, n)
        let (cMemory, c) = view(m, n)
        let before = (0..<m).map { i in (0..<n).map { c[i, $0] } }
        multiply(
            aTransposed ? a.transposed : a.plain, bTransposed ? b.transposed : b.plain, into: c, alpha: 0.5,
            beta: 2)
        withExtendedLifetime((aMemory, bMemory, cMemory)) {
            for i in 0..<m {
                for j in 0..<n {
                    var sum = 0.0
                    for l in 0..<k {
                        sum += Double(aTransposed ? a[l, i] : a[i, l]) * Double(bTransposed ? b[j, l] : b[l, j])
                    }
                    #expect(abs(Double(c[i, j]) - (0.5 * sum + 2 * Double(before[i][j]))) < 1e-5)
                }
            }
        }
    }
}
