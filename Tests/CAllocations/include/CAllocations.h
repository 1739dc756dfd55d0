#pragma once
#include <stddef.h>

/// Counts what the calling thread allocates from here on.
void cosmos_count_allocations(void);

/// Ends the count. The bytes of the largest block that was allocated meanwhile.
size_t cosmos_largest_allocation(void);
