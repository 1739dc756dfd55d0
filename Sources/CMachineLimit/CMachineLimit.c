#define _GNU_SOURCE
#include "CMachineLimit.h"

// Every loop has enough sums that none waits for its own last addition (the latency of an instruction
// times those started a cycle: at most 12), and few enough that they stay in registers. Operands are
// read from volatile memory once, so that the compiler cannot compute the result beforehand, and the
// sums are written there at the end, so that it must compute them.

#define SUMS 12
static volatile float factor = 0.5f, addend = 1.0f;
// Each thread's own: many measure at once.
static _Thread_local volatile float sink;

typedef float vector4 __attribute__((vector_size(16)));

/// Sixteen bytes at a time, the width that every CPU has.
static double run_baseline(long rounds) {
    vector4 a = (vector4){0} + factor, b = (vector4){0} + addend, sums[SUMS];
    for (int i = 0; i < SUMS; i++) sums[i] = b;
    for (long round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < SUMS; i++) sums[i] = sums[i] * a + b;
    }
    for (int i = 0; i < SUMS; i++) sink = sums[i][0];
    return 2.0 * 4 * SUMS * (double)rounds;
}

#if defined(__x86_64__)
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((target("avx2,fma"))) static double run_avx2(long rounds) {
    __m256 a = _mm256_set1_ps(factor), b = _mm256_set1_ps(addend), sums[SUMS];
    for (int i = 0; i < SUMS; i++) sums[i] = b;
    for (long round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < SUMS; i++) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
    }
    for (int i = 0; i < SUMS; i++) sink = sums[i][0];
    return 2.0 * 8 * SUMS * (double)rounds;
}

__attribute__((target("avx512f"))) static double run_avx512(long rounds) {
    __m512 a = _mm512_set1_ps(factor), b = _mm512_set1_ps(addend), sums[SUMS];
    for (int i = 0; i < SUMS; i++) sums[i] = b;
    for (long round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < SUMS; i++) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
    }
    for (int i = 0; i < SUMS; i++) sink = sums[i][0];
    return 2.0 * 16 * SUMS * (double)rounds;
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16"))) static double run_avx512_bf16(long rounds) {
    __m512 a = _mm512_set1_ps(factor), sums[SUMS];
    __m512bh x = _mm512_cvtne2ps_pbh(a, a);
    for (int i = 0; i < SUMS; i++) sums[i] = _mm512_setzero_ps();
    for (long round = 0; round < rounds; round++) {
#pragma clang loop unroll(full)
        for (int i = 0; i < SUMS; i++) sums[i] = _mm512_dpbf16_ps(sums[i], x, x);
    }
    for (int i = 0; i < SUMS; i++) sink = sums[i][0];
    // Each of the 16 sums gets two products.
    return 2.0 * 32 * SUMS * (double)rounds;
}

/// What `ldtilecfg` reads.
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_configuration;

/// Six sums of 16 x 16 float32, each plus a product of 16 x 32 and 32 x 16 bfloat16.
__attribute__((target("amx-tile,amx-bf16"))) static double run_amx(long rounds) {
    tile_configuration configuration = {.palette = 1};
    for (int tile = 0; tile < 8; tile++) {
        configuration.row_bytes[tile] = 64;
        configuration.rows[tile] = 16;
    }
    static const uint16_t operand[16 * 32] = {0x3f80};
    float sums[16 * 16];
    _tile_loadconfig(&configuration);
    _tile_zero(0), _tile_zero(1), _tile_zero(2), _tile_zero(3), _tile_zero(4), _tile_zero(5);
    _tile_loadd(6, operand, 64);
    _tile_loadd(7, operand, 64);
    for (long round = 0; round < rounds; round++) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_stored(0, sums, 64);
    sink = sums[0];
    _tile_release();
    return 2.0 * 16 * 16 * 32 * 6 * (double)rounds;
}

/// Whether the CPU has AMX for bfloat16 and Linux lets this process use its registers.
static bool may_use_amx(void) {
    unsigned eax = 7, ebx, ecx = 0, edx;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    if (!((edx >> 22) & 1) || !((edx >> 24) & 1)) return false;
    enum { request_permission = 0x1023, tile_data = 18 };
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

void cosmos_stream_copy(float *target, const float *source, long count) {
    for (long i = 0; i < count; i += 4) _mm_stream_ps(target + i, _mm_load_ps(source + i));
    _mm_sfence();
}

cosmos_multiply_unit cosmos_fp32_unit(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return (cosmos_multiply_unit){"AVX-512 FMA", run_avx512};
    if (__builtin_cpu_supports("fma")) return (cosmos_multiply_unit){"AVX2 FMA", run_avx2};
    return (cosmos_multiply_unit){"SSE", run_baseline};
}

cosmos_multiply_unit cosmos_bf16_unit(void) {
    __builtin_cpu_init();
    if (may_use_amx()) return (cosmos_multiply_unit){"AMX BF16", run_amx};
    if (__builtin_cpu_supports("avx512bf16")) return (cosmos_multiply_unit){"AVX-512 BF16", run_avx512_bf16};
    return (cosmos_multiply_unit){0};
}

#else
#include <string.h>

void cosmos_stream_copy(float *target, const float *source, long count) { memcpy(target, source, 4 * (size_t)count); }
cosmos_multiply_unit cosmos_fp32_unit(void) { return (cosmos_multiply_unit){"vectors of 16 bytes", run_baseline}; }
cosmos_multiply_unit cosmos_bf16_unit(void) { return (cosmos_multiply_unit){0}; }

#endif
