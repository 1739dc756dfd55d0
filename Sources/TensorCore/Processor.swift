import CPlatform

/// Flushes denormals to zero in this thread and those it will start. Rows of rare tokens have
/// moments that decay into the denormal range, where a CPU is tens of times slower.
public func flushDenormalsToZero() { cosmos_flush_denormals() }

/// One CPU feature: whether this build's machine code requires it, and whether this CPU has it.
public struct CPUFeature: Sendable {
    public let name: String
    public let isRequired: Bool
    public let isPresent: Bool

    package init(name: String, isRequired: Bool, isPresent: Bool) {
        (self.name, self.isRequired, self.isPresent) = (name, isRequired, isPresent)
    }

    /// All features that matter for speed, from the oldest to the newest.
    public static var all: [CPUFeature] {
        (0..<Int32(cosmos_cpu_feature_count)).map { index in
            let feature = cosmos_get_cpu_feature(index)
            return CPUFeature(
                name: String(cString: feature.name), isRequired: feature.required,
                isPresent: feature.present)
        }
    }
}

/// The cores the operating system lets this process use.
public var availableCoreCount: Int { max(1, Int(cosmos_available_cores())) }
