import Foundation
import Ranks
import Synchronization

/// Runs `body` on so many ranks, threads of this process; what each returns or throws.
public func onRanks<Output: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Ranks) throws -> Output
) -> [Result<Output, any Error>] {
    let results = Mutex<[Int: Result<Output, any Error>]>([:])
    let group = DispatchGroup()
    for transport in LocalTransport.group(count) {
        nonisolated(unsafe) let transport = transport
        group.enter()
        let thread = Thread {
            let result = Result {
                let ranks = Ranks(transport)
                try ranks.introduce()
                return try body(ranks)
            }
            results.withLock { $0[transport.rank] = result }
            group.leave()
        }
        // The kernels take more than a thread's usual half megabyte.
        thread.stackSize = 16 << 20
        thread.start()
    }
    group.wait()
    return results.withLock { results in (0..<count).map { results[$0]! } }
}
