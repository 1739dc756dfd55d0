#pragma once
#include <stdbool.h>
#include <stddef.h>

/// Counts what the calling thread allocates from here on.
void cosmos_count_allocations(void);

/// Ends the count. The bytes of the largest block that was allocated meanwhile.
size_t cosmos_largest_allocation(void);

/// Whether a sanitizer watches this build, whose allocator and time are not the program's own.
bool cosmos_is_sanitized(void);
