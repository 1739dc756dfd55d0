import Glibc
import Synchronization

/// A request to stop, set from a signal handler and seen between blocks of work.
public final class CancellationFlag: Sendable {
    private let requested = Atomic<Bool>(false)

    public init() {}

    public var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// Async-signal-safe.
    public func request() { requested.store(true, ordering: .relaxed) }
}

/// A fixed team of threads that share out numbered blocks of work.
///
/// `forEach` hands the blocks 0, 1, 2 ... to whichever worker is free. What a block computes must
/// depend on its number alone and blocks must write to different places; then results are the same
/// bits for any number of workers. The libraries below run single-threaded inside a block.
/// The calling thread is worker 0, so a pool of one starts no thread. One `forEach` at a time;
/// `body` must not call `forEach` of the same pool.
public final class WorkerPool: @unchecked Sendable {
    public let workerCount: Int

    private var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var workArrived = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var workDone = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var threads: [pthread_t] = []

    /// Counts calls of `forEach`; a change is what wakes the workers.
    private let generation = Atomic<Int>(0)
    private let nextBlock = Atomic<Int>(0)
    private let busyWorkers = Atomic<Int>(0)
    private var blockCount = 0
    private var body: UnsafePointer<(Int, Int) -> Void>?
    private var isShuttingDown = false

    /// How often a waiting thread looks before it sleeps: some 20 microseconds, so that the short
    /// phases of a small model do not pay for a wake-up each.
    private let spins = 2_000

    /// `threads` workers; 0 means one for each core this process may run on.
    public init(threads count: Int = 0) {
        precondition(count >= 0, "worker pool of \(count) threads")
        LinearAlgebraLibrary.useOneThreadPerCall()
        workerCount = count == 0 ? availableCoreCount : count
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(workArrived, nil)
        pthread_cond_init(workDone, nil)
        for worker in 1..<max(workerCount, 1) {
            let start = Unmanaged.passRetained(ThreadStart(pool: self, worker: worker))
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { argument in
                    let start = Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue()
                    let (pool, worker) = (start.pool, start.worker)
                    pool.work(as: worker)
                    return nil
                }, start.toOpaque())
            precondition(status == 0, "cannot start worker thread \(worker): error \(status)")
            threads.append(thread)
        }
    }

    deinit {
        pthread_mutex_lock(mutex)
        isShuttingDown = true
        generation.add(1, ordering: .sequentiallyConsistent)
        pthread_cond_broadcast(workArrived)
        pthread_mutex_unlock(mutex)
        for thread in threads { pthread_join(thread, nil) }
        pthread_mutex_destroy(mutex)
        pthread_cond_destroy(workArrived)
        pthread_cond_destroy(workDone)
        mutex.deallocate()
        workArrived.deallocate()
        workDone.deallocate()
    }

    /// Runs `body(block, worker)` for every block in 0 ..< `count` and returns when all are done.
    /// `worker` (0 ..< `workerCount`) names scratch memory that no other block uses meanwhile.
    public func forEach(_ count: Int, _ body: (_ block: Int, _ worker: Int) -> Void) {
        if workerCount == 1 || count <= 1 {
            for block in 0..<count { body(block, 0) }
            return
        }
        withoutActuallyEscaping(body) { body in
            withUnsafePointer(to: body) { pointer in
                pthread_mutex_lock(mutex)
                self.body = pointer
                blockCount = count
                nextBlock.store(0, ordering: .relaxed)
                busyWorkers.store(workerCount - 1, ordering: .relaxed)
                generation.add(1, ordering: .sequentiallyConsistent)
                pthread_cond_broadcast(workArrived)
                pthread_mutex_unlock(mutex)

                takeBlocks(as: 0, pointer)

                var spin = 0
                while spin < spins, busyWorkers.load(ordering: .acquiring) > 0 { spin += 1 }
                pthread_mutex_lock(mutex)
                while busyWorkers.load(ordering: .acquiring) > 0 { pthread_cond_wait(workDone, mutex) }
                self.body = nil
                pthread_mutex_unlock(mutex)
            }
        }
    }

    /// `forEach` whose blocks may fail: throws the error of the lowest block that failed.
    /// With a `cancellation`, blocks are skipped once it is requested, and `CancellationError` is
    /// thrown; what the blocks should have written is then undefined.
    public func forEach(
        _ count: Int, cancellation: CancellationFlag?, _ body: (_ block: Int, _ worker: Int) throws -> Void
    ) throws {
        let failure = Mutex<(block: Int, error: any Error)?>(nil)
        forEach(count) { block, worker in
            if cancellation?.isRequested == true { return }
            do {
                try body(block, worker)
            } catch {
                let thrown = SendableError(error)
                failure.withLock { if $0 == nil || block < $0!.block { $0 = (block, thrown.error) } }
            }
        }
        if cancellation?.isRequested == true { throw CancellationError() }
        if let failure = failure.withLock({ $0 }) { throw failure.error }
    }

    /// Not inlined: the closure that it loads must be released again before its caller is told
    /// that this worker is done.
    @inline(never)
    private func takeBlocks(as worker: Int, _ body: UnsafePointer<(Int, Int) -> Void>) {
        while true {
            let block = nextBlock.add(1, ordering: .relaxed).oldValue
            if block >= blockCount { return }
            body.pointee(block, worker)
        }
    }

    private func work(as worker: Int) {
        var seen = 0
        while true {
            var spin = 0
            while spin < spins, generation.load(ordering: .acquiring) == seen { spin += 1 }
            pthread_mutex_lock(mutex)
            while generation.load(ordering: .acquiring) == seen { pthread_cond_wait(workArrived, mutex) }
            seen = generation.load(ordering: .acquiring)
            let body = self.body
            let stop = isShuttingDown
            pthread_mutex_unlock(mutex)
            if stop { return }
            if let body { takeBlocks(as: worker, body) }
            if busyWorkers.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
                pthread_mutex_lock(mutex)
                pthread_cond_signal(workDone)
                pthread_mutex_unlock(mutex)
            }
        }
    }
}

/// The ranges of `size` (the last may be shorter) that cover 0 ..< `count`, to be shared out as blocks.
public func ranges(of count: Int, size: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: size).map { $0..<min($0 + size, count) }
}

/// What a new thread is told. The pool is unowned: a thread must not keep its pool alive, and the
/// pool joins its threads before it goes.
private final class ThreadStart {
    unowned(unsafe) let pool: WorkerPool
    let worker: Int
    init(pool: WorkerPool, worker: Int) {
        self.pool = pool
        self.worker = worker
    }
}

/// An error on its way from a worker to the caller, which waits for it.
private struct SendableError: @unchecked Sendable {
    let error: any Error
    init(_ error: any Error) { self.error = error }
}
