import TensorCore

/// What the machine does at most, for that kind of work.
struct Limit {
    /// Bytes or FLOPs a second.
    let rate: Double
    let unit: String

    /// Measured anew each time: neighbours on a shared machine come and go.
    init?(for cost: MeasuredTask.Cost?, pool: WorkerPool) {
        switch cost {
        case nil: return nil
        case .bytes: self.init(rate: MachineLimit.copyBandwidth(pool: pool), unit: "GB/s copied")
        case .fp32: self.init(MachineLimit(pool: pool).fp32)
        case .bf16:
            let limits = MachineLimit(pool: pool)
            // A CPU without units for bfloat16 computes with those of float32.
            self.init(limits.bf16 ?? limits.fp32)
        }
    }

    private init(_ rate: MachineLimit.Rate) { self.init(rate: rate.flopsPerSecond, unit: "GFLOP/s \(rate.unit)") }

    private init(rate: Double, unit: String) {
        self.rate = rate
        self.unit = unit
    }
}
