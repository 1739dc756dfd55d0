import Foundation

/// The workers of a test's pool where their number is no part of what it tests. `scripts/sanitize.sh` sets others.
public let testWorkers = ProcessInfo.processInfo.environment["COSMOS_TEST_WORKERS"].flatMap { Int($0) } ?? 2
