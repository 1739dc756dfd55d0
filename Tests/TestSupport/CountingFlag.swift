import Synchronization
import TensorCore

/// A wish to stop that comes when it has been asked for so often: at the same place each time, where one thread asks.
public final class CountingFlag: CancellationFlag, @unchecked Sendable {
    private let limit: Int
    private let counter = Atomic<Int>(0)

    public init(limit: Int = .max) { self.limit = limit }

    /// How often it was asked for.
    public var looks: Int { counter.load(ordering: .relaxed) }

    override public var isRequested: Bool {
        if counter.add(1, ordering: .relaxed).newValue >= limit { request() }
        return super.isRequested
    }
}
