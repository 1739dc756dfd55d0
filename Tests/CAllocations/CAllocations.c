// Stands before glibc's allocator and watches it. Freed memory goes back to glibc as ever. Under a sanitizer, whose
// allocator stands there already, it is told of each block.
#include "CAllocations.h"

#include <errno.h>

static __thread bool is_counting;
static __thread size_t largest;

static void watch(size_t size) {
    if (is_counting && size > largest) largest = size;
}

void cosmos_count_allocations(void) {
    largest = 0;
    is_counting = true;
}

size_t cosmos_largest_allocation(void) {
    is_counting = false;
    return largest;
}

#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)

bool cosmos_is_sanitized(void) { return true; }

void __sanitizer_malloc_hook(const volatile void *block, size_t size) {
    (void)block;
    watch(size);
}

#else

bool cosmos_is_sanitized(void) { return false; }

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    watch(size);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    size_t total;
    watch(__builtin_mul_overflow(count, size, &total) ? (size_t)-1 : total);
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    watch(size);
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size) {
    watch(size);
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **block, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) return EINVAL;
    void *memory = memalign(alignment, size);
    if (memory == NULL) return ENOMEM;
    *block = memory;
    return 0;
}

#endif
