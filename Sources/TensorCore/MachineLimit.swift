import CMachineLimit
import Synchronization

/// What this machine does at most, by all workers at once: products of numbers that are in registers
/// already, and copying memory. What a kernel or a training step reaches is judged against it.
public struct MachineLimit: Sendable {
    /// The rate of one kind of unit.
    public struct Rate: Sendable {
        /// "AVX-512 FMA".
        public let unit: String
        /// The sum over the workers.
        public var flopsPerSecond: Double
    }

    public let fp32: Rate
    /// Products of bfloat16 summed in float32; nil where the CPU has no instruction for them.
    public let bf16: Rate?

    /// Measures each of the two for about `seconds`.
    public init(pool: WorkerPool, seconds: Double = 0.05) {
        fp32 = Self.measure(cosmos_fp32_unit(), pool: pool, seconds: seconds)!
        bf16 = Self.measure(cosmos_bf16_unit(), pool: pool, seconds: seconds)
    }

    private static let known = Mutex<[Int: MachineLimit]>([:])

    /// The limit of as many workers as `pool` has, measured once a process, in some 40 ms.
    public static func measured(pool: WorkerPool) -> MachineLimit {
        known.withLock { known in
            if let limit = known[pool.workerCount] { return limit }
            let limit = MachineLimit(pool: pool, seconds: 0.02)
            known[pool.workerCount] = limit
            return limit
        }
    }

    /// The best of some slices: other programs on the machine only ever make it slower.
    private static func measure(_ unit: cosmos_multiply_unit, pool: WorkerPool, seconds: Double) -> Rate? {
        guard let name = unit.name, let run = unit.run else { return nil }
        let slices = 5
        let rates = Tensor<Float>(pool.workerCount)
        var best = 0.0
        for _ in 0..<slices {
            pool.forEach(pool.workerCount) { block, _ in
                let start = ContinuousClock.now
                var (flops, elapsed) = (0.0, 0.0)
                repeat {
                    flops += run(10_000)
                    elapsed = (ContinuousClock.now - start) / .seconds(1)
                } while elapsed < seconds / Double(slices)
                rates.data[block] = Float(flops / elapsed)
            }
            best = max(best, rates.elements.reduce(0) { $0 + Double($1) })
        }
        return Rate(unit: String(cString: name), flopsPerSecond: best)
    }

    /// Bytes read and written a second, the best of some copies between two buffers far larger than any
    /// cache: 512 MB.
    public static func copyBandwidth(pool: WorkerPool) -> Double {
        let (count, block) = (64 << 20, 1 << 18)
        let (source, target) = (Tensor<Float>(count), Tensor<Float>(count))
        // Untouched memory is one page of zeros, read again and again.
        for tensor in [source, target] { tensor.elements.update(repeating: 1) }
        var best = 0.0
        for _ in 0..<5 {
            let start = ContinuousClock.now
            pool.forEach(count / block) { index, _ in
                cosmos_stream_copy(target.data + index * block, source.data + index * block, block)
            }
            best = max(best, 8 * Double(count) / ((ContinuousClock.now - start) / .seconds(1)))
        }
        return best
    }
}
