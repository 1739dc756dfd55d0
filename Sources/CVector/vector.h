#pragma once
// What Swift cannot say: vector intrinsics that must not fall back to scalar library calls.
// Header only, so that each function is inlined into the kernel that calls it.

typedef float cosmos_float16x __attribute__((ext_vector_type(16)));

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
