import Synchronization
import TensorCore
import Testing

@Suite struct WorkerPoolTests {
    @Test(arguments: [1, 2, 3, 8]) func everyBlockOnce(_ threads: Int) {
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

    /// Two blocks at a time never get the same worker's scratch memory.
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
        #expect(ranges(of: 10, size: 4) == [0..<4, 4..<8, 8..<10])
        #expect(ranges(of: 8, size: 4) == [0..<4, 4..<8])
        #expect(ranges(of: 0, size: 4).isEmpty)
    }
}
