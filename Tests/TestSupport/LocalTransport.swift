import Foundation
import Ranks

/// Ranks that are threads of one process, with a queue of messages from each to each.
public final class LocalTransport: Transport {
    private final class Group: @unchecked Sendable {
        let condition = NSCondition()
        let count: Int
        var messages: [[[UInt8]]]
        var left = 0
        var isStopping = false
        /// The rank that ended all.
        var ended: Int?

        init(count: Int) {
            self.count = count
            messages = Array(repeating: [], count: count * count)
        }

        /// Waits for `result` to have one, at most so long.
        func wait<Result>(_ seconds: Double, for result: () -> Result?) -> Result? {
            condition.lock()
            defer { condition.unlock() }
            let end = Date(timeIntervalSinceNow: seconds)
            while true {
                if let result = result() { return result }
                if ended != nil || !condition.wait(until: end) { return nil }
            }
        }

        func change(_ body: () -> Void) {
            condition.withLock(body)
            condition.broadcast()
        }
    }

    public let rank: Int
    public var count: Int { group.count }
    public var timeout = 600.0
    private let group: Group

    private init(rank: Int, _ group: Group) { (self.rank, self.group) = (rank, group) }

    /// So many ranks, one for each thread.
    public static func group(_ count: Int) -> [LocalTransport] {
        let group = Group(count: count)
        return (0..<count).map { LocalTransport(rank: $0, group) }
    }

    public func exchange(_ peer: Int, count: Int, chunk: (Int) -> ExchangedChunk, take: (Int) -> Void) throws {
        for index in 0..<count {
            try exchange(peer, chunk(index))
            take(index)
        }
    }

    private func exchange(_ peer: Int, _ chunk: ExchangedChunk) throws {
        let (send, receive) = chunk
        if !send.isEmpty { group.change { group.messages[rank * count + peer].append(Array(send)) } }
        if receive.isEmpty { return }
        let queue = peer * count + rank
        let message = group.wait(timeout) {
            group.messages[queue].isEmpty ? nil : group.messages[queue].removeFirst()
        }
        guard let message else { throw SilentRank(rank: group.ended ?? peer, timeout: timeout) }
        precondition(message.count == receive.count, "\(message.count) bytes of \(peer) instead of \(receive.count)")
        receive.copyBytes(from: message)
    }

    public func tellStop() { group.change { group.isStopping = true } }
    public func isToldToStop() -> Bool { group.condition.withLock { group.isStopping } }

    public func leave() -> Bool {
        group.change { group.left += 1 }
        return group.wait(1) { group.left == count ? true : nil } ?? false
    }

    public func abort(status: Int32) { group.change { group.ended = rank } }
}
