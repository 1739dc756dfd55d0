import Foundation

/// The workers of a test's pool where their number is no part of what it tests. `scripts/sanitize.sh` sets others.
public let testWorkers = ProcessInfo.processInfo.environment["COSMOS_TEST_WORKERS"].flatMap { Int($0) } ?? 2

/// Runs what belongs to a thread on one that nobody else has; those of the tests are shared by many.
public func onThreadOfItsOwn(_ body: @escaping @Sendable () -> Void) async {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread {
            body()
            continuation.resume()
        }
    }
}
