import CMachineLimit
import Synchronization

/// What this machine does at most, by all workers at once: products of numbers that are in registers
/// already, and copying memory. What a kernel or a training step reaches is judged against it.
public struct MachineLimit: Sendable {
    public struct Rate: Sendable {
        /// "AVX-512 FMA".
        public let unit: String
        public var flopsPerSecond: Double
    }

    public let fp32: Rate
    /// Products of bfloat16 summed in float32; nil where the CPU has no instruction for them.
    public let bf16: Rate?

    /// The limit for products of that precision.
    public func rate(bf16 isBF16: Bool) -> Rate { isBF16 ? bf16 ?? fp32 : fp32 }

    /// Measures each of the two for about `seconds`, on the pool's workers, but no more than there are cores: where they
    /// take turns, each would count time in which another ran.
    public init(pool: WorkerPool, seconds: Double = 0.05) {
        fp32 = Self.measure(cosmos_fp32_unit(), pool: pool, seconds: seconds)!
        bf16 = Self.measure(cosmos_bf16_unit(), pool: pool, seconds: seconds)
    }

    private static let known = Mutex<[Int: MachineLimit]>([:])

    private static func threadCount(_ pool: WorkerPool) -> Int { min(pool.workerCount, availableCoreCount) }

    /// The limit of as many workers as `pool` has, measured once a process, in some 40 ms.
    public static func measured(pool: WorkerPool) -> MachineLimit {
        known.withLock { known in
            if let limit = known[threadCount(pool)] { return limit }
            let limit = MachineLimit(pool: pool, seconds: 0.02)
            known[threadCount(pool)] = limit
            return limit
        }
    }

    /// Each worker's best of some slices: other programs on the machine only ever make it slower.
    private static func measure(_ unit: cosmos_multiply_unit, pool: WorkerPool, seconds: Double) -> Rate? {
        guard let name = unit.name, let run = unit.run else { return nil }
        let slices = 20
        let threads = threadCount(pool)
        let rates = Tensor<Float>(threads)
        for _ in 0..<slices {
            pool.forEach(threads) { task, _ in
                let start = ContinuousClock.now
                var (flops, elapsed) = (0.0, 0.0)
                repeat {
                    flops += run(10_000)
                    elapsed = (ContinuousClock.now - start) / .seconds(1)
                } while elapsed < seconds / Double(slices)
                rates.data[task] = max(rates.data[task], Float(flops / elapsed))
            }
        }
        return Rate(unit: String(cString: name), flopsPerSecond: rates.elements.reduce(0) { $0 + Double($1) })
    }

    /// Bytes read and written a second, the best of some copies between two buffers far larger than any
    /// cache: 512 MB.
    public static func copyBandwidth(pool: WorkerPool) -> Double {
        let (count, part) = (64 << 20, 1 << 18)
        let (source, target) = (Tensor<Float>(count), Tensor<Float>(count))
        // Untouched memory is one page of zeros, read again and again.
        for tensor in [source, target] { tensor.elements.update(repeating: 1) }
        var best = 0.0
        for _ in 0..<5 {
            let start = ContinuousClock.now
            pool.forEach(count / part) { index, _ in
                cosmos_stream_copy(target.data + index * part, source.data + index * part, part)
            }
            best = max(best, 8 * Double(count) / ((ContinuousClock.now - start) / .seconds(1)))
        }
        return best
    }
}
