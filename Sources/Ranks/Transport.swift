/// What carries bytes between ranks: MPI between processes, queues between the threads of a test.
public protocol Transport: AnyObject {
    var rank: Int { get }
    /// All ranks.
    var count: Int { get }
    /// Seconds after which a rank that is waited for and says nothing is given up.
    var timeout: Double { get set }

    /// Sends to a rank and receives from it, at the same time. It calls this, too, with the same sizes the other way
    /// round; either may be 0. Throws `SilentRank`.
    func exchange(_ peer: Int, send: UnsafeRawBufferPointer, receive: UnsafeMutableRawBufferPointer) throws

    /// Tells all others that this rank wishes to stop.
    func tellStop()
    /// Whether another rank has told so.
    func isToldToStop() -> Bool

    /// Waits a short while for all others to leave, too; false where one does not, which is busy with something else.
    func leave() -> Bool
    /// Ends all ranks: processes at once, threads by `SilentRank` at their next exchange.
    func abort(status: Int32)
}

/// A rank of which nothing was heard for too long.
public struct SilentRank: Error {
    public let rank: Int
    /// For so many seconds.
    public let timeout: Double
}
