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

#if defined(__x86_64__)
#if defined(__SSE4_2__)
#define COSMOS_BUILT_SSE42 true
#else
#define COSMOS_BUILT_SSE42 false
#endif
#if defined(__AVX__)
#define COSMOS_BUILT_AVX true
#else
#define COSMOS_BUILT_AVX false
#endif
#if defined(__AVX2__)
#define COSMOS_BUILT_AVX2 true
#else
#define COSMOS_BUILT_AVX2 false
#endif
#if defined(__FMA__)
#define COSMOS_BUILT_FMA true
#else
#define COSMOS_BUILT_FMA false
#endif
#if defined(__AVX512F__)
#define COSMOS_BUILT_AVX512F true
#else
#define COSMOS_BUILT_AVX512F false
#endif
#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define COSMOS_BUILT_AVX512BW true
#else
#define COSMOS_BUILT_AVX512BW false
#endif
#if defined(__AVX512BF16__)
#define COSMOS_BUILT_AVX512BF16 true
#else
#define COSMOS_BUILT_AVX512BF16 false
#endif
#if defined(__AMX_BF16__)
#define COSMOS_BUILT_AMX true
#else
#define COSMOS_BUILT_AMX false
#endif
#endif

enum { cosmos_cpu_feature_count = 8 };

/// Feature `index` (0 ..< cosmos_cpu_feature_count), from the oldest to the newest.
static inline cosmos_cpu_feature cosmos_get_cpu_feature(int index) {
    cosmos_cpu_feature none = {"", false, false};
#if defined(__x86_64__)
    __builtin_cpu_init();
    switch (index) {
    case 0: return (cosmos_cpu_feature){"SSE4.2", COSMOS_BUILT_SSE42, __builtin_cpu_supports("sse4.2") != 0};
    case 1: return (cosmos_cpu_feature){"AVX", COSMOS_BUILT_AVX, __builtin_cpu_supports("avx") != 0};
    case 2: return (cosmos_cpu_feature){"AVX2", COSMOS_BUILT_AVX2, __builtin_cpu_supports("avx2") != 0};
    case 3: return (cosmos_cpu_feature){"FMA", COSMOS_BUILT_FMA, __builtin_cpu_supports("fma") != 0};
    case 4: return (cosmos_cpu_feature){"AVX-512F", COSMOS_BUILT_AVX512F, __builtin_cpu_supports("avx512f") != 0};
    case 5:
        return (cosmos_cpu_feature){"AVX-512BW/VL/DQ", COSMOS_BUILT_AVX512BW,
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
                && __builtin_cpu_supports("avx512dq")};
    case 6: return (cosmos_cpu_feature){"AVX-512 BF16", COSMOS_BUILT_AVX512BF16, __builtin_cpu_supports("avx512bf16") != 0};
    case 7: {
        // AMX is reported by CPUID leaf 7 (EDX bit 22: AMX-BF16); the compiler's table lacks it in places.
        unsigned eax, ebx, ecx, edx;
        __asm__ volatile("cpuid" : "=a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx) : "a"(7), "c"(0));
        return (cosmos_cpu_feature){"AMX BF16", COSMOS_BUILT_AMX, ((edx >> 22) & 1) != 0};
    }
    default: return none;
    }
#else
    return none;
#endif
}
