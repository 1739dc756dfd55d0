// How this process computes, set when it is loaded and before it has threads: so the program, the tests and the
// benchmarks give the same bits.
#include "platform.h"

#include <stdlib.h>

/// OpenBLAS's: its threads stay off, because `WorkerPool` cuts the work.
extern void openblas_set_num_threads(int count);

__attribute__((constructor)) static void set_process_mode(void) {
#if defined(__x86_64__)
    // Flush denormal results and inputs to zero (FTZ, DAZ): moments of rare tokens decay into the denormal range, where
    // a CPU is tens of times slower. Threads inherit it.
    _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
    openblas_set_num_threads(1);
    // hwloc would complain to the user's terminal in a container without /sys, and goes on by what the CPU says.
    setenv("HWLOC_HIDE_ERRORS", "2", 0);
}
