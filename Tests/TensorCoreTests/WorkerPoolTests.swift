import Glibc
import Synchronization
import TensorCore
import Testing

@Suite struct WorkerPoolTests {
    @Test(arguments: [1, 3, 16]) func everyBlockOnce(_ threads: Int) {
        let pool = WorkerPool(threads: threads)
        for count in [0, 1, 2, 7, 1000] {
            let visits = Tensor<Float>(count + 1)
            let strays = Atomic<Int>(0)
            for _ in 0..<50 {
                pool.forEach(count) { block, worker in
                    visits.data[block] += 1
                    if !(0..<pool.workerCount).contains(worker) { strays.add(1, ordering: .relaxed) }
                }
            }
            #expect(visits.elements.dropLast().allSatisfy { $0 == 50 } && visits.data[count] == 0)
            #expect(strays.load(ordering: .relaxed) == 0)
        }
    }

    /// Blocks that call `forEach` again, to a depth that falls back to the calling thread: each runs once, on a worker
    /// that nobody else is.
    @Test(arguments: [1, 3, 16]) func callsWithinBlocks(_ threads: Int) {
        let pool = WorkerPool(threads: threads)
        let (total, collisions) = (Counter(), Counter())
        let inUse = (0..<threads).map { _ in Counter() }
        func call(_ depth: Int, from caller: Int?) {
            pool.forEach(4) { _, worker in
                // The caller's worker is in use by the block that waits for this one.
                let others = inUse[worker].value.add(1, ordering: .sequentiallyConsistent).oldValue
                if others != 0, worker != caller { collisions.value.add(1, ordering: .relaxed) }
                if depth > 0 { call(depth - 1, from: worker) }
                total.value.add(1, ordering: .relaxed)
                inUse[worker].value.subtract(1, ordering: .sequentiallyConsistent)
            }
        }
        for _ in 0..<3 { call(5, from: nil) }
        #expect(total.value.load(ordering: .relaxed) == 3 * (4 + 16 + 64 + 256 + 1024 + 4096))
        #expect(collisions.value.load(ordering: .relaxed) == 0)
    }

    /// The blocks of an inner call wait for each other, so it ends only if an idle worker helps.
    @Test func idleWorkersHelpAnInnerCall() {
        let pool = WorkerPool(threads: 3)
        for _ in 0..<100 {
            pool.forEach(2) { block, _ in
                guard block == 0 else { return }
                let arrived = Atomic<Int>(0)
                pool.forEach(3) { _, _ in
                    arrived.add(1, ordering: .sequentiallyConsistent)
                    while arrived.load(ordering: .sequentiallyConsistent) < 3 { sched_yield() }
                }
            }
        }
    }

    /// Errors and a wish to stop come out of inner calls too.
    @Test(arguments: [1, 3, 16]) func failuresWithinInnerCalls(_ threads: Int) {
        let pool = WorkerPool(threads: threads)
        #expect(throws: Failure(block: 203)) {
            try pool.forEach(5, cancellation: nil) { outer, _ in
                try pool.forEach(10, cancellation: nil) { inner, _ in
                    if outer >= 2, inner % 4 == 3 { throw Failure(block: 100 * outer + inner) }
                }
            }
        }
        let flag = CancellationFlag()
        #expect(throws: CancellationError.self) {
            try pool.forEach(100, cancellation: flag) { outer, _ in
                try pool.forEach(100, cancellation: flag) { inner, _ in if inner == 50 { flag.request() } }
            }
        }
        pool.forEach(7) { _, _ in }
    }

    /// Calls of one block and of many in turn, with pauses in which the workers fall asleep.
    @Test(arguments: [3, 16]) func sleepersWake(_ threads: Int) {
        let pool = WorkerPool(threads: threads)
        let total = Atomic<Int>(0)
        for round in 0..<300 {
            if round % 10 == 0 { usleep(300) }
            pool.forEach(round % 40) { _, _ in total.add(1, ordering: .relaxed) }
        }
        #expect(total.load(ordering: .relaxed) == (0..<300).reduce(0) { $0 + $1 % 40 })
        // A pool that nobody needs any more ends its threads, asleep or not.
        weak var last: WorkerPool?
        for round in 0..<50 {
            let pool = WorkerPool(threads: threads)
            if round % 2 == 0 { pool.forEach(threads) { _, _ in } }
            last = pool
        }
        #expect(last == nil)
    }

    /// Two blocks at a time never get the same worker's scratch memory.
    /// With its threads, which sleep by then.
    @Test func aPoolEndsWithItsLastUser() {
        weak var remaining: WorkerPool?
        do {
            let pool = WorkerPool(threads: 2)
            remaining = pool
            // Each block waits for the other, so that both workers are at work.
            let begun = Atomic<Int>(0)
            pool.forEach(2) { _, _ in
                begun.add(1, ordering: .relaxed)
                while begun.load(ordering: .relaxed) < 2 { usleep(100) }
            }
            usleep(10_000)
        }
        #expect(remaining == nil)
    }

    @Test func workersAreExclusive() {
        let pool = WorkerPool(threads: 4)
        let inUse = (0..<4).map { _ in Counter() }
        let collisions = Counter()
        pool.forEach(400) { _, worker in
            if inUse[worker].value.add(1, ordering: .sequentiallyConsistent).oldValue != 0 {
                collisions.value.add(1, ordering: .relaxed)
            }
            for _ in 0..<1000 { _ = inUse[worker].value.load(ordering: .relaxed) }
            inUse[worker].value.subtract(1, ordering: .sequentiallyConsistent)
        }
        #expect(collisions.value.load(ordering: .relaxed) == 0)
    }

    final class Counter: Sendable { let value = Atomic<Int>(0) }

    struct Failure: Error, Equatable { let block: Int }

    @Test(arguments: [1, 3]) func lowestFailureWins(_ threads: Int) {
        let pool = WorkerPool(threads: threads)
        #expect(throws: Failure(block: 3)) {
            try pool.forEach(100, cancellation: nil) { block, _ in
                if block % 10 == 3 { throw Failure(block: block) }
            }
        }
    }

    @Test func cancellationSkipsTheRest() {
        let pool = WorkerPool(threads: 2)
        let flag = CancellationFlag()
        let done = Atomic<Int>(0)
        #expect(throws: CancellationError.self) {
            try pool.forEach(1000, cancellation: flag) { block, _ in
                done.add(1, ordering: .relaxed)
                if block == 10 { flag.request() }
            }
        }
        #expect(done.load(ordering: .relaxed) < 1000)
    }

    @Test func rangesCover() {
        #expect(Array(ranges(of: 10, size: 4)) == [0..<4, 4..<8, 8..<10])
        #expect(Array(ranges(of: 8, size: 4)) == [0..<4, 4..<8])
        #expect(ranges(of: 0, size: 4).isEmpty)
    }
}
