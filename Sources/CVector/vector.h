#pragma once
// What Swift cannot say: vector intrinsics that must not fall back to scalar library calls.
// Header only, so that each function is inlined into the kernel that calls it.

typedef float cosmos_float16x __attribute__((ext_vector_type(16)));
typedef float cosmos_float8x __attribute__((ext_vector_type(8)));
typedef float cosmos_float4x __attribute__((ext_vector_type(4)));
typedef float cosmos_float2x __attribute__((ext_vector_type(2)));
typedef unsigned short cosmos_ushort16x __attribute__((ext_vector_type(16)));
typedef unsigned int cosmos_uint16x __attribute__((ext_vector_type(16)));

/// Swift's `squareRoot()` on a SIMD vector becomes 16 scalar calls because of errno.
static inline __attribute__((always_inline)) cosmos_float16x cosmos_sqrt(cosmos_float16x x) {
    return __builtin_elementwise_sqrt(x);
}

/// a * b + c: one rounding where the target has FMA, two where it has not. Swift's `addingProduct`
/// would call libm's fmaf there, lane by lane.
static inline __attribute__((always_inline)) cosmos_float16x cosmos_multiply_add(
    cosmos_float16x a, cosmos_float16x b, cosmos_float16x c) {
#if defined(__FMA__)
    return __builtin_elementwise_fma(a, b, c);
#else
    return a * b + c;
#endif
}

/// x where it lies in low ... high, else the nearer of the two; NaN stays NaN. (Swift's `replacing` and its
/// comparisons of vectors become loops over lanes.)
static inline __attribute__((always_inline)) cosmos_float16x cosmos_clamp(
    cosmos_float16x x, float low, float high) {
    cosmos_float16x lows = low, highs = high;
    x = x > highs ? highs : x;
    return x < lows ? lows : x;
}

/// y where x is not below the bound, else 0.
static inline __attribute__((always_inline)) cosmos_float16x cosmos_zero_below(
    cosmos_float16x x, float bound, cosmos_float16x y) {
    cosmos_float16x bounds = bound, zero = 0;
    return x < bounds ? zero : y;
}

/// The larger of each two lanes.
static inline __attribute__((always_inline)) cosmos_float16x cosmos_max(cosmos_float16x x, cosmos_float16x y) {
    return x > y ? x : y;
}

/// The largest lane.
static inline __attribute__((always_inline)) float cosmos_lane_max(cosmos_float16x x) {
    cosmos_float8x a = x.lo > x.hi ? x.lo : x.hi;
    cosmos_float4x b = a.lo > a.hi ? a.lo : a.hi;
    cosmos_float2x c = b.lo > b.hi ? b.lo : b.hi;
    return c.x > c.y ? c.x : c.y;
}

/// 1, -1 or 0 by the sign of each lane; NaN stays NaN.
static inline __attribute__((always_inline)) cosmos_float16x cosmos_sign(cosmos_float16x x) {
    cosmos_float16x plus = 1, minus = -1, zero = 0;
    return x > zero ? plus : x < zero ? minus : x;
}

/// Each lane rounded to bfloat16: to nearest, ties to even; NaN stays NaN; what is subnormal in float32
/// becomes zero, as in AVX-512 BF16's one instruction for it.
static inline __attribute__((always_inline)) cosmos_ushort16x cosmos_round_to_bfloat16(cosmos_float16x x) {
#if defined(__AVX512BF16__)
    typedef __bf16 bfloat16x __attribute__((ext_vector_type(16)));
    return (cosmos_ushort16x)__builtin_convertvector(x, bfloat16x);
#else
    cosmos_uint16x bits = (cosmos_uint16x)x;
    cosmos_uint16x rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    // A NaN whose upper half is zero would round to infinity: force its quiet bit.
    cosmos_uint16x is_nan = (cosmos_uint16x)(x != x);
    cosmos_uint16x is_subnormal = (cosmos_uint16x)((bits & 0x7f800000) == 0);
    rounded = (rounded & ~is_nan) | (((bits >> 16) | 0x40) & is_nan);
    rounded = (rounded & ~is_subnormal) | ((bits >> 16) & 0x8000 & is_subnormal);
    return __builtin_convertvector(rounded, cosmos_ushort16x);
#endif
}

/// Each lane of bfloat16 as float32.
static inline __attribute__((always_inline)) cosmos_float16x cosmos_widen_bfloat16(cosmos_ushort16x bits) {
    return (cosmos_float16x)(__builtin_convertvector(bits, cosmos_uint16x) << 16);
}

/// Lanes whose lower halves are `low`, whose upper ones `high`.
static inline __attribute__((always_inline)) cosmos_float16x cosmos_pair(cosmos_ushort16x low, cosmos_ushort16x high) {
    return (cosmos_float16x)(
        __builtin_convertvector(low, cosmos_uint16x) | __builtin_convertvector(high, cosmos_uint16x) << 16);
}

/// Asks for the cache line of an address, into the second-level cache.
static inline __attribute__((always_inline)) void cosmos_prefetch(const void *address) {
    __builtin_prefetch(address, 0, 2);
}

/// Transposes 16 rows: row i and row i + 8 are interleaved, four times over.
static inline __attribute__((always_inline)) void cosmos_transpose(void *rows) {
    cosmos_float16x x[16], y[16];
    __builtin_memcpy(x, rows, sizeof x);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            y[2 * i] = __builtin_shufflevector(
                x[i], x[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            y[2 * i + 1] = __builtin_shufflevector(
                x[i], x[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        for (int i = 0; i < 16; i++) x[i] = y[i];
    }
    __builtin_memcpy(rows, x, sizeof x);
}
