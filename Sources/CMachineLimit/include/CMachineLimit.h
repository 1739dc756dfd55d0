#pragma once
// Loops that keep the CPU's multiply units busy from registers alone: the most FLOP/s there can be. And
// the fastest way to copy memory.

#ifdef __cplusplus
extern "C" {
#endif

/// One kind of multiply unit.
typedef struct {
    /// "AVX-512 FMA"; NULL: the CPU has none.
    const char *name;
    /// Runs that many rounds on the calling thread and returns the FLOPs done.
    double (*run)(long rounds);
} cosmos_multiply_unit;

/// The fastest for float32.
cosmos_multiply_unit cosmos_fp32_unit(void);

/// The fastest for products of bfloat16 summed in float32, if this CPU and the operating system have one.
cosmos_multiply_unit cosmos_bf16_unit(void);

/// Copies `count` floats past the caches, so that the target is not read before it is written. Both lie on
/// 64 bytes, `count` is a multiple of 16.
void cosmos_stream_copy(float *target, const float *source, long count);

#ifdef __cplusplus
}
#endif
