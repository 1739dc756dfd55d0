import Glibc
import TensorCore
import TestSupport
import Testing

@Suite(.disabled(if: isSanitized, "a sanitizer slows our code and none of the libraries'"))
struct MachineLimitTests {
    /// OpenBLAS reaches most of what the units do, and never more. So a loop that the compiler optimized away, or that
    /// counts twice or half the FLOPs it does, is found out. Both are the best of many short tries, because other
    /// programs run meanwhile.
    @Test func isJustAboveAMatrixProduct() {
        let pool = WorkerPool(threads: 1)
        let n = 512
        let (a, b, c) = (Tensor<Float>(n, n), Tensor<Float>(n, n), Tensor<Float>(n, n))
        for operand in [a, b] { operand.elements.update(repeating: 0.5) }
        var (product, limit) = (0.0, 0.0)
        for _ in 0..<40 {
            let start = ContinuousClock.now
            multiply(a.matrix.plain, b.matrix.plain, into: c.matrix)
            product = max(product, 2 * Double(n * n * n) / ((ContinuousClock.now - start) / .seconds(1)))
            limit = max(limit, MachineLimit(pool: pool, seconds: 0.01).fp32.flopsPerSecond)
        }
        // Kernels for narrower vectors than the CPU has do half of it.
        let hasAVX512 = CPUFeature.all.contains { $0.name == "AVX-512F" && $0.isPresent }
        let isNarrow = hasAVX512 && ["haswell", "zen"].contains(LinearAlgebraLibrary.coreName.lowercased())
        #expect(product < 1.03 * limit && limit < (isNarrow ? 5 : 1.8) * product, "\(product), limit \(limit) FLOP/s")
    }

    @Test func bfloat16WhereTheCPUHasIt() {
        let limit = MachineLimit(pool: WorkerPool(threads: 2), seconds: 0.02)
        #expect(limit.fp32.flopsPerSecond > 0)
        #expect((limit.bf16 != nil) == BFloat16Library.isSupportedByCPU)
        if let bf16 = limit.bf16 { #expect(bf16.flopsPerSecond > 0.5 * limit.fp32.flopsPerSecond) }
    }

    /// On as many threads as there are cores: more take turns, and each would count time in which another ran.
    @Test func moreThreadsThanCoresDoNoMore() {
        let all = MachineLimit(pool: WorkerPool(threads: availableCoreCount), seconds: 0.05).fp32.flopsPerSecond
        let many = MachineLimit(pool: WorkerPool(threads: 16 * availableCoreCount), seconds: 0.05).fp32.flopsPerSecond
        #expect(many < 2 * all, "\(many) with too many threads, \(all) FLOP/s with as many as there are cores")
    }

    /// Copying past the caches is what the C library does with so much memory, too.
    @Test func copyBandwidthIsThatOfTheLibrarysCopy() {
        let pool = WorkerPool(threads: 2)
        let count = 32 << 20
        let (source, target) = (Tensor<Float>(count), Tensor<Float>(count))
        for tensor in [source, target] { tensor.elements.update(repeating: 1) }
        var (library, ours) = (0.0, 0.0)
        for _ in 0..<3 {
            for _ in 0..<4 {
                let start = ContinuousClock.now
                pool.forEach(128) { part, _ in
                    memcpy(target.data + part * count / 128, source.data + part * count / 128, 4 * count / 128)
                }
                library = max(library, 8 * Double(count) / ((ContinuousClock.now - start) / .seconds(1)))
            }
            ours = max(ours, MachineLimit.copyBandwidth(pool: pool))
        }
        #expect((0.4...2.5).contains(ours / library), "\(ours), the library's \(library) bytes/s")
    }
}
