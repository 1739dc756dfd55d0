import CPlatform
import Synchronization

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

/// The threads that this user may have, as `ulimit -u` says it.
var processLimit: String {
    let limit = cosmos_process_limit()
    return limit == .max ? "unlimited" : "\(limit)"
}

/// What a thread does between two looks at a word that another will change.
@inline(__always)
func pauseSpinning() { cosmos_pause() }

/// A word in memory of its own that threads can sleep on until it changes.
struct WaitWord {
    private let word = UnsafeMutablePointer<Atomic<UInt32>>.allocate(capacity: 1)

    init() { word.initialize(to: Atomic(0)) }

    func destroy() {
        word.deinitialize(count: 1)
        word.deallocate()
    }

    var value: UInt32 { word.pointee.load(ordering: .sequentiallyConsistent) }
    func set(_ value: UInt32) { word.pointee.store(value, ordering: .sequentiallyConsistent) }

    /// Returns the new value.
    @discardableResult
    func add(_ count: Int) -> UInt32 {
        word.pointee.wrappingAdd(UInt32(count), ordering: .sequentiallyConsistent).newValue
    }

    /// Sleeps while the word is `value`; may also return for no reason.
    func sleep(while value: UInt32) { cosmos_futex_wait(word, value) }
    /// Wakes so many of those who sleep.
    func wake(_ count: Int) { cosmos_futex_wake(word, Int32(clamping: count)) }
}
