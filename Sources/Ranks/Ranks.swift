import Console
import Machine
import TensorCore

/// The processes that make one run together, each computing a part; most often it is one alone.
///
/// Every call here is made by all ranks in the same order. No rank decides anything by its own clock, its own signals
/// or its own errors: what may differ goes through `together` or `fromFirst`.
public final class Ranks {
    public let rank: Int
    public let count: Int
    private let transport: (any Transport)?
    /// The machine of each.
    public private(set) var hosts: [String] = []
    /// How many have this machine, and how many of those these cores.
    private var neighbours = 1
    public private(set) var sharers = 1
    private var hasToldStop = false

    /// One alone.
    public init() { (rank, count, transport) = (0, 1, nil) }

    public init(_ transport: any Transport) {
        (rank, count, self.transport) = (transport.rank, transport.count, transport)
    }

    /// Whether this is the rank that has the run's folder, and speaks.
    public var isFirst: Bool { rank == 0 }

    /// The seconds for which a rank that is waited for may say nothing.
    public func setTimeout(_ seconds: Double) { transport?.timeout = seconds }

    /// Tells each rank the others' machines, for messages.
    public func introduce() throws {
        let all = try gather(Array("\(Provenance.hostName) \(Provenance.coreList)".utf8)).map {
            String(decoding: $0, as: UTF8.self).split(separator: " ")
        }
        hosts = all.map { String($0[0]) }
        neighbours = hosts.count { $0 == hosts[rank] }
        sharers = all.count { $0 == all[rank] }
    }

    /// The memory that this rank may have.
    public var shareOfMemory: MachineMemory? {
        MachineMemory.current.map {
            MachineMemory(
                limit: $0.limit / neighbours, available: $0.available / neighbours,
                isLimitedByGroup: $0.isLimitedByGroup)
        }
    }

    /// "rank 3 on node7"
    public func name(of rank: Int) -> String {
        "rank \(rank)" + (hosts.indices.contains(rank) ? " on \(hosts[rank])" : "")
    }

    /// Sends to another rank and receives from it, which calls this with the same sizes the other way round.
    public func exchange(
        _ peer: Int, send: UnsafeRawBufferPointer = .init(start: nil, count: 0),
        receive: UnsafeMutableRawBufferPointer = .init(start: nil, count: 0)
    ) throws {
        try exchange(peer, count: 1, chunk: { _ in (send, receive) }, take: { _ in })
    }

    /// So many chunks are on their way at once.
    public static let chunksUnderWay = 16

    /// Exchanges chunks with another rank, see `Transport`.
    public func exchange(_ peer: Int, count: Int, chunk: (Int) -> ExchangedChunk, take: (Int) -> Void) throws {
        try transport?.exchange(peer, count: count, chunk: chunk, take: take)
    }

    /// The sum over all ranks by MPI's own means, whose order nobody promises: what ours is measured against.
    package func sumByMPI(_ values: UnsafeMutableBufferPointer<Float>) {
        #if MPI
            (transport as? MPITransport)?.sum(values)
        #endif
    }

    /// Waits a short while for all others to leave, too; false where one is still busy with something else.
    public func leave() -> Bool { transport?.leave() ?? true }

    /// Ends all ranks.
    public func abort(status: Int32) { transport?.abort(status: status) }

    /// The bytes of each rank, by rank. Their number is a power of two.
    public func gather(_ bytes: [UInt8]) throws -> [[UInt8]] {
        if transport == nil { return [bytes] }
        var all = [[UInt8]](repeating: [], count: count)
        all[rank] = bytes
        // What is known doubles each time: that of the ranks that differ from this one in the lower bits alone.
        var distance = 1
        while distance < count {
            let peer = rank ^ distance
            let (mine, theirs) = (rank & ~(distance - 1), peer & ~(distance - 1))
            var sizes = [Int](repeating: 0, count: distance)
            try (mine..<mine + distance).map { all[$0].count }.withUnsafeBytes { mine in
                try sizes.withUnsafeMutableBytes { try exchange(peer, send: mine, receive: $0) }
            }
            let sent = Array(all[mine..<mine + distance].joined())
            var received = [UInt8](repeating: 0, count: sizes.reduce(0, +))
            try sent.withUnsafeBytes { sent in
                try received.withUnsafeMutableBytes { try exchange(peer, send: sent, receive: $0) }
            }
            var rest = received[...]
            for (other, size) in sizes.enumerated() {
                all[theirs + other] = Array(rest.prefix(size))
                rest = rest.dropFirst(size)
            }
            distance *= 2
        }
        return all
    }

    /// Numbers of which each rank has some and 0 for the others: after this, all ranks have all.
    public func merge(_ values: inout [Double]) throws {
        if count == 1 { return }
        let all = try gather(values.withUnsafeBytes { Array($0) }).map { bytes in
            bytes.withUnsafeBytes { Array($0.bindMemory(to: Double.self)) }
        }
        for index in values.indices { values[index] = all.reduce(0) { $0 + $1[index] } }
    }

    /// What the first rank has of it, on all.
    public func fromFirst(_ bytes: @autoclosure () throws -> [UInt8]) throws -> [UInt8] {
        try gather(isFirst ? bytes() : [])[0]
    }

    /// Runs `body` on each rank. Where it throws on one, all throw: the lowest rank's error, a wish to stop only where
    /// there is none.
    public func together<Result>(_ body: () throws -> Result) throws -> Result {
        if count == 1 { return try body() }
        let outcome = Swift.Result(catching: body)
        if case .failure(let error as SilentRank) = outcome { throw error }
        let errors = try gather(SharedError.encode(outcome)).enumerated().map { other, bytes in
            SharedError.decode(bytes, of: other == 0 ? nil : name(of: other))
        }.compactMap { $0 }
        if let error = errors.first(where: { !($0 is CancellationError) }) ?? errors.first { throw error }
        return try outcome.get()
    }

    /// Hands a wish to stop on to all ranks, and takes theirs, so that none computes on for nothing. What is done about
    /// it is decided in `together`.
    public func share(_ wish: CancellationFlag) {
        guard let transport else { return }
        if wish.isRequested, !hasToldStop {
            hasToldStop = true
            transport.tellStop()
        }
        if transport.isToldToStop() { wish.request() }
    }
}
