#pragma once
// What Swift cannot say: how threads wait for each other, the threads a user may have, and the CPU's features against
// those this build uses.
#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/// Tells the CPU that this thread only waits: less power, and the core's other hyper-thread runs faster.
static inline void cosmos_pause(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Sleeps until it is woken, or does not if `*word` is no longer `value`. May return without a reason.
static inline void cosmos_futex_wait(const void *word, uint32_t value) {
    extern long syscall(long number, ...);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, (void *)0);
}

/// Wakes up to `count` of the threads that sleep on `word`.
static inline void cosmos_futex_wake(const void *word, int count) {
    extern long syscall(long number, ...);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}

/// The processes and threads that the user of this process may have (`ulimit -u`); UINT64_MAX: no limit.
static inline uint64_t cosmos_process_limit(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : UINT64_MAX;
}

/// A CPU feature that matters for speed: whether this build's code needs it and whether the CPU has it.
typedef struct {
    const char *name;
    bool required;
    bool present;
} cosmos_cpu_feature;

enum { cosmos_cpu_feature_count = 8 };

/// Whether the compiler may use feature `index`.
static inline bool cosmos_is_built_for(int index) {
    bool is_built[cosmos_cpu_feature_count] = {
#if defined(__SSE4_2__)
        [0] = true,
#endif
#if defined(__AVX__)
        [1] = true,
#endif
#if defined(__AVX2__)
        [2] = true,
#endif
#if defined(__FMA__)
        [3] = true,
#endif
#if defined(__AVX512F__)
        [4] = true,
#endif
#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
        [5] = true,
#endif
#if defined(__AVX512BF16__)
        [6] = true,
#endif
#if defined(__AMX_BF16__)
        [7] = true,
#endif
    };
    return is_built[index];
}

/// Feature `index` (0 ..< cosmos_cpu_feature_count), from the oldest to the newest.
static inline cosmos_cpu_feature cosmos_get_cpu_feature(int index) {
    static const char *const names[cosmos_cpu_feature_count] = {
        "SSE4.2", "AVX", "AVX2", "FMA", "AVX-512F", "AVX-512BW/VL/DQ", "AVX-512 BF16", "AMX BF16"};
    cosmos_cpu_feature feature = {names[index], cosmos_is_built_for(index), false};
#if defined(__x86_64__)
    // AMX is reported by CPUID leaf 7 (EDX bit 22: AMX-BF16); the compiler's table lacks it in places.
    unsigned eax, ebx, ecx, edx;
    __asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(7), "c"(0));
    __builtin_cpu_init();
    const bool is_present[cosmos_cpu_feature_count] = {
        __builtin_cpu_supports("sse4.2"), __builtin_cpu_supports("avx"), __builtin_cpu_supports("avx2"),
        __builtin_cpu_supports("fma"), __builtin_cpu_supports("avx512f"),
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"),
        __builtin_cpu_supports("avx512bf16"), (edx >> 22) & 1};
    feature.present = is_present[index];
#endif
    return feature;
}
