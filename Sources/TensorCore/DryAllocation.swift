/// Builds what `build` builds with every shape and size, but without memory: no element of a tensor
/// that is made within may be touched, nor may scratch of an arena be used.
///
/// So the memory of a model or an optimizer is known before a byte of it is allocated, from the very
/// code that allocates it.
public func withoutMemory<Result>(_ build: () throws -> Result) rethrows -> Result {
    try DryAllocation.$isOn.withValue(true, operation: build)
}

enum DryAllocation {
    /// Whether tensors and arenas that are made now go without memory.
    @TaskLocal static var isOn = false
}
