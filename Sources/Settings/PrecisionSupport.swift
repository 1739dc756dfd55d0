import Console
import TensorCore

extension RunConfiguration {
    /// Why this CPU cannot make the run: bfloat16 is asked for, and there are no instructions for it. nil if it can.
    public var unsupportedPrecision: UserError? {
        if BFloat16Library.isSupportedByCPU { return nil }
        let lack = "this CPU has no bfloat16 instructions (AVX-512 BF16 or AMX)"
        if training.precision == .bf16 {
            return UserError(
                .usage, "training.precision: bf16: \(lack)",
                hint: "train with training.precision=fp32, which is faster here, or on another machine")
        }
        if optimizer.hyperparameters.usesBFloat16 {
            return UserError(
                .usage, "optimizer.ns_precision: bf16: \(lack)",
                hint: "set optimizer.ns_precision=fp32, or train on another machine")
        }
        return nil
    }
}
