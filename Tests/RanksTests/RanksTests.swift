import Console
import Foundation
import Ranks
import TensorCore
import TestSupport
import Testing

@Suite("Ranks")
struct RanksTests {
    @Test("What ranks have is gathered, merged and handed on", arguments: [1, 2, 4, 8])
    func gathering(count: Int) throws {
        for result in onRanks(
            count,
            { ranks in
                // Of other sizes, one of them none.
                let all = try ranks.gather(Array(repeating: UInt8(ranks.rank), count: 3 * ranks.rank))
                #expect(all == (0..<count).map { Array(repeating: UInt8($0), count: 3 * $0) })
                var values = (0..<2 * count).map { $0 / 2 == ranks.rank ? 0.1 * Double($0) : 0 }
                try ranks.merge(&values)
                #expect(values == (0..<2 * count).map { 0.1 * Double($0) })
                #expect(try ranks.fromFirst([UInt8(7 + ranks.rank)]) == [7])
                #expect(ranks.hosts.count == count && ranks.name(of: 0).hasPrefix("rank 0 on "))
                #expect(ranks.sharers == count)
            })
        { try result.get() }
    }

    @Test("Chunks of different sizes are taken in order, each before another one takes its place")
    func chunks() throws {
        for result in onRanks(
            2,
            { ranks in
                func size(_ index: Int, of rank: Int) -> Int { (index + rank) % 3 * 1000 }
                let sent = UnsafeMutableRawBufferPointer.allocate(byteCount: 20 * 2000, alignment: 1)
                let received = UnsafeMutableRawBufferPointer.allocate(
                    byteCount: Ranks.chunksUnderWay * 2000, alignment: 1)
                defer {
                    sent.deallocate()
                    received.deallocate()
                }
                for index in sent.indices { sent[index] = UInt8(100 * ranks.rank + index / 2000) }
                func place(_ index: Int) -> UnsafeMutableRawBufferPointer {
                    let start = index % Ranks.chunksUnderWay * 2000
                    return .init(rebasing: received[start..<start + size(index, of: 1 - ranks.rank)])
                }
                var next = 0
                try ranks.exchange(1 - ranks.rank, count: 20) { index in
                    let start = 2000 * index
                    return (.init(rebasing: sent[start..<start + size(index, of: ranks.rank)]), place(index))
                } take: { index in
                    #expect(index == next)
                    #expect(place(index).allSatisfy { $0 == UInt8(100 * (1 - ranks.rank) + index) })
                    next += 1
                }
                #expect(next == 20)
            })
        { try result.get() }
    }

    @Test("Where one rank fails, all fail alike; an error counts more than a wish to stop, a lower rank's first")
    func failing() {
        let errors: [Int: any Error & Sendable] = [
            0: CancellationError(), 2: UserError(.data, "no good", hint: "mend it"),
            3: NumericalError("is not finite", tensor: "w"),
        ]
        for result in onRanks(
            4,
            { (ranks: Ranks) throws -> Void in
                #expect(throws: CancellationError.self) {
                    try ranks.together { if ranks.rank == 1 { throw CancellationError() } }
                }
                let error = #expect(throws: UserError.self) {
                    try ranks.together { if let error = errors[ranks.rank] { throw error } }
                }
                #expect(error?.kind == .data && error?.hint == "mend it")
                #expect(error?.message.hasPrefix("rank 2 on ") == true && error?.message.hasSuffix(": no good") == true)
                let numbers = #expect(throws: NumericalError.self) {
                    try ranks.together { if let error = errors[ranks.rank], ranks.rank == 3 { throw error } }
                }
                #expect(numbers?.description == "w: is not finite")
                #expect(try ranks.together { ranks.rank } == ranks.rank)
            })
        { #expect(throws: Never.self) { try result.get() } }
    }

    @Test("A rank that says nothing is named, and a wish to stop reaches all")
    func silence() {
        let results = onRanks(2) { ranks in
            ranks.setTimeout(0.2)
            if ranks.rank == 1 {
                // Busy for too long.
                usleep(600_000)
                return
            }
            _ = try ranks.gather([1])
        }
        #expect(throws: SilentRank.self) { try results[0].get() }
        do { try results[0].get() } catch { #expect((error as? SilentRank)?.rank == 1) }
        for result in onRanks(
            4,
            { ranks in
                let wish = CancellationFlag()
                if ranks.rank == 2 { wish.request() }
                while !wish.isRequested {
                    ranks.share(wish)
                    usleep(1000)
                }
                ranks.share(wish)
            })
        { #expect(throws: Never.self) { try result.get() } }
    }

    @Test("Who leaves alone learns that the others stay, and ends them")
    func leaving() {
        let results = onRanks(2) { ranks in
            if ranks.rank == 0 {
                #expect(!ranks.leave())
                ranks.abort(status: 74)
            } else {
                _ = try ranks.gather([1])
            }
        }
        #expect(throws: SilentRank.self) { try results[1].get() }
        for result in onRanks(4, { $0.leave() }) { #expect((try? result.get()) == true) }
    }

    @Test("A launcher is known by its environment, and refused where it promises more ranks than there are")
    func launchers() throws {
        func launcher(_ variables: [String: Int]) -> Launcher? { Launcher { variables[$0] } }
        #expect(launcher([:]) == nil)
        // A batch script that starts one program.
        #expect(launcher(["SLURM_PROCID": 0, "SLURM_NTASKS": 4]) == nil)
        #expect(launcher(["OMPI_COMM_WORLD_SIZE": 1, "OMPI_COMM_WORLD_RANK": 0, "SLURM_STEP_NUM_TASKS": 2]) == nil)
        for names in [("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK")] {
            let found = try #require(launcher([names.0: 4, names.1: 3]))
            #expect(found.count == 4 && found.rank == 3)
        }
        let slurm = try #require(launcher(["SLURM_STEP_NUM_TASKS": 8, "SLURM_PROCID": 5]))
        #expect(slurm.count == 8 && slurm.rank == 5)
        try slurm.check(seen: 8)
        let error = #expect(throws: UserError.self) { try slurm.check(seen: 1) }
        #expect(error?.message.contains("promises 8 ranks, but MPI on") == true)
    }
}
