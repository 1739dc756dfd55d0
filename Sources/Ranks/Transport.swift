/// What carries bytes between ranks: MPI between processes, queues between the threads of a test.
public protocol Transport: AnyObject {
    var rank: Int { get }
    /// All ranks.
    var count: Int { get }
    /// Seconds after which a rank that is waited for and says nothing is given up.
    var timeout: Double { get set }

    /// Sends chunks to a rank and receives chunks from it, at the same time. It calls this, too, with the same sizes the
    /// other way round; any may be of 0 bytes. Several are begun at once (`Ranks.chunksUnderWay`): what two ranks agree on
    /// about one waits behind the bytes that go the same way, and the line would wait with it. `take` is called for each
    /// that has arrived, in order, before its place is given to another one. Throws `SilentRank`.
    func exchange(_ peer: Int, count: Int, chunk: (Int) -> ExchangedChunk, take: (Int) -> Void) throws

    /// Tells all others that this rank wishes to stop.
    func tellStop()
    /// Whether another rank has told so.
    func isToldToStop() -> Bool

    /// Waits a short while for all others to leave, too; false where one does not, which is busy with something else.
    func leave() -> Bool
    /// Ends all ranks: processes at once, threads by `SilentRank` at their next exchange.
    func abort(status: Int32)
}

/// What one rank sends and receives.
public typealias ExchangedChunk = (send: UnsafeRawBufferPointer, receive: UnsafeMutableRawBufferPointer)

/// A rank of which nothing was heard for too long.
public struct SilentRank: Error {
    public let rank: Int
    /// For so many seconds.
    public let timeout: Double

    package init(rank: Int, timeout: Double) { (self.rank, self.timeout) = (rank, timeout) }
}
