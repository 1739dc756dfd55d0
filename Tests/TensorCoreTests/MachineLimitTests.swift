import TensorCore
import Testing

@Suite struct MachineLimitTests {
    /// A loop that the compiler optimized away, or that counts FLOPs it does not do, is far off a matrix
    /// product's rate. The bounds are wide because other tests run meanwhile.
    @Test func isNearAMatrixProduct() {
        let pool = WorkerPool(threads: 1)
        let n = 512
        let (a, b, c) = (Tensor<Float>(n, n), Tensor<Float>(n, n), Tensor<Float>(n, n))
        var product = 0.0
        var limit = 0.0
        for _ in 0..<5 {
            let start = ContinuousClock.now
            multiply(a.matrix.plain, b.matrix.plain, into: c.matrix)
            product = max(product, 2 * Double(n * n * n) / ((ContinuousClock.now - start) / .seconds(1)))
            limit = max(limit, MachineLimit(pool: pool, seconds: 0.02).fp32.flopsPerSecond)
        }
        #expect(product < 10 * limit && limit < 20 * product, "product \(product), limit \(limit) FLOP/s")
    }

    @Test func bfloat16WhereTheCPUHasIt() {
        let limit = MachineLimit(pool: WorkerPool(threads: 2), seconds: 0.02)
        #expect(limit.fp32.flopsPerSecond > 0)
        #expect((limit.bf16 != nil) == BFloat16Library.isSupportedByCPU)
        if let bf16 = limit.bf16 { #expect(bf16.flopsPerSecond > 0.5 * limit.fp32.flopsPerSecond) }
    }

    /// Slower than one core's cache, faster than a disk.
    @Test func copyBandwidthIsOfMemory() {
        #expect((0.5e9...2e12).contains(MachineLimit.copyBandwidth(pool: WorkerPool(threads: 2))))
    }
}
