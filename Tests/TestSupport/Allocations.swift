import CAllocations

/// The bytes of the largest block of memory that `body` allocates on this thread; 0 for none.
public func largestAllocation(_ body: () throws -> Void) rethrows -> Int {
    cosmos_count_allocations()
    defer { _ = cosmos_largest_allocation() }
    try body()
    return Int(cosmos_largest_allocation())
}

/// Whether a sanitizer watches this build (scripts/sanitize.sh): memory and time are then the sanitizer's.
public let isSanitized = cosmos_is_sanitized()
