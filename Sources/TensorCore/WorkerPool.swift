import Glibc
import Synchronization

/// A request to stop, set from a signal handler and seen between tasks.
open class CancellationFlag: @unchecked Sendable {
    private let requested = Atomic<Bool>(false)

    public init() {}

    open var isRequested: Bool { requested.load(ordering: .relaxed) }

    /// Async-signal-safe.
    public final func request() { requested.store(true, ordering: .relaxed) }
}

/// A fixed team of threads that share out numbered tasks.
///
/// `forEach` hands the tasks 0, 1, 2 ... to whichever worker is free. What a task computes must
/// depend on its number alone and tasks must write to different places; then results are the same
/// bits for any number of workers. The libraries below run single-threaded inside a task.
///
/// The calling thread is worker 0, so a pool of one starts no thread; one thread at a time may call from
/// outside. A task may call `forEach` of the same pool: its caller and workers without a task take the
/// inner tasks. A worker that waits within a task for the end of an inner call takes no other work, so a task keeps
/// the scratch memory of its worker; but inner tasks must not use the same scratch as the task that calls them.
public final class WorkerPool: @unchecked Sendable {
    public let workerCount: Int

    /// The calls in work: each worker leads at most `nesting` at a time.
    private let jobs: UnsafeMutablePointer<Job>
    private static let nesting = 4
    /// How many calls each worker leads. Touched by its own thread only.
    private let leading: UnsafeMutablePointer<Int>
    /// Calls that may have tasks left.
    private let openJobs = Atomic<Int>(0)
    /// Changes with each call. Workers without work sleep on it.
    private let calls = WaitWord()
    private let sleepers = Atomic<Int>(0)
    private let isShuttingDown = Atomic<Bool>(false)

    /// One tile of a product for each worker, in cache until what became of it is stored. Costs memory where it is
    /// first used.
    private let tiles: Tensor<Float>

    /// Records the time of every task; for pools of one worker.
    package var recorder: TaskRecorder? {
        didSet { require(threads.isEmpty, "tasks are recorded on one worker") }
    }

    private var threads: [pthread_t] = []
    /// Whether each worker keeps to a core of its own.
    public let isBound: Bool
    private let maker = pthread_self()
    /// A thread's number as a worker of this pool, plus 1.
    private var key = pthread_key_t()

    /// `threads` workers; 0 means one for each core that this process may use. Where they take all of these, and it is
    /// `binding`, each keeps to its own, the calling thread too, as long as there is the pool; fewer would be in the way
    /// of another process that chose the same ones.
    public init(threads count: Int = 0, binding: Bool = false) {
        require(count >= 0, "worker pool of \(count) threads")
        workerCount = count == 0 ? availableCoreCount : count
        isBound = binding && workerCount == Topology.current.cores.count && !DryAllocation.isOn
        spinLimit = workerCount <= availableCoreCount ? .microseconds(100) : .zero
        tiles = Tensor(workerCount, tileOrder * tileOrder)
        jobs = .allocate(capacity: workerCount * Self.nesting)
        for index in 0..<workerCount * Self.nesting { (jobs + index).initialize(to: Job()) }
        leading = .allocate(capacity: workerCount)
        leading.initialize(repeating: 0, count: workerCount)
        require(pthread_key_create(&key, nil) == 0, "there are as many worker pools as a process can have")
        // A plan counts the memory of a team that may be larger than this machine's.
        if DryAllocation.isOn { return }
        for worker in 1..<max(workerCount, 1) {
            let start = Unmanaged.passRetained(ThreadStart(pool: .passUnretained(self), worker: worker))
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { argument in
                    let start = Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue()
                    start.pool._withUnsafeGuaranteedRef { $0.work(as: start.worker) }
                    return nil
                }, start.toOpaque())
            if status != 0 { endWithoutThreads(worker, of: workerCount) }
            threads.append(thread)
        }
        guard isBound else { return }
        Topology.current.bind(to: 0)
        // What it first touches are the weights, which all workers read.
        Topology.current.spreadMemory()
    }

    deinit {
        isShuttingDown.store(true, ordering: .sequentiallyConsistent)
        calls.add(1)
        calls.wake(workerCount)
        for thread in threads { pthread_join(thread, nil) }
        if isBound, pthread_equal(maker, pthread_self()) != 0 { Topology.current.release() }
        jobs.deinitialize(count: workerCount * Self.nesting)
        jobs.deallocate()
        leading.deallocate()
        calls.destroy()
        pthread_key_delete(key)
    }

    /// Runs `body(task, worker)` for every task in 0 ..< `count` and returns when all are done.
    /// `worker` (0 ..< `workerCount`) names scratch memory that no other task uses meanwhile. `phase` names
    /// the work in measurements.
    public func forEach(
        _ count: Int, phase: StaticString = #function, _ body: (_ task: Int, _ worker: Int) -> Void
    ) {
        if let recorder { return recorder.record(count, "\(phase)") { body($0, 0) } }
        // A thread that is not of this pool calls from outside.
        let worker = max(0, Int(bitPattern: pthread_getspecific(key)) - 1)
        let depth = leading[worker]
        if threads.isEmpty || count <= 1 || depth == Self.nesting {
            for task in 0..<count { body(task, worker) }
            return
        }
        leading[worker] = depth + 1
        let job = jobs + worker * Self.nesting + depth
        withoutActuallyEscaping(body) { body in
            withUnsafePointer(to: body) { pointer in
                job.pointee.open(count, pointer)
                openJobs.add(1, ordering: .sequentiallyConsistent)
                calls.add(1)
                if sleepers.load(ordering: .sequentiallyConsistent) > 0 { calls.wake(count - 1) }
                let done = takeTasks(of: job, as: worker)
                openJobs.subtract(1, ordering: .relaxed)
                waitForOthers(job, until: UInt32(count - done), isWithinTask: depth > 0 || worker > 0)
            }
        }
        leading[worker] = depth
    }

    /// `forEach` whose tasks may fail: throws the error of the lowest task that failed.
    /// With a `cancellation`, tasks are skipped once it is requested, and `CancellationError` is
    /// thrown; what the tasks should have written is then undefined.
    public func forEach(
        _ count: Int, phase: StaticString = #function, cancellation: CancellationFlag?,
        _ body: (_ task: Int, _ worker: Int) throws -> Void
    ) throws {
        let failure = Mutex<(task: Int, error: any Error)?>(nil)
        forEach(count, phase: phase) { task, worker in
            if cancellation?.isRequested == true { return }
            do {
                try body(task, worker)
            } catch {
                let thrown = SendableError(error)
                failure.withLock { if $0 == nil || task < $0!.task { $0 = (task, thrown.error) } }
            }
        }
        if cancellation?.isRequested == true { throw CancellationError() }
        if let failure = failure.withLock({ $0 }) { throw failure.error }
    }

    /// Scratch for one tile, good within a task of this worker that makes no inner call meanwhile.
    public func tile(of worker: Int) -> UnsafeMutablePointer<Float> { tiles.matrix.row(worker) }

    /// Takes tasks until none is left; returns how many it did.
    ///
    /// Not inlined: the closure that it loads must be released again before the leader is told that
    /// this worker is done.
    @inline(never)
    private func takeTasks(of job: UnsafeMutablePointer<Job>, as worker: Int) -> Int {
        var done = 0
        while let task = job.pointee.claim() {
            job.pointee.body.pointee.pointee(task, worker)
            done += 1
        }
        return done
    }

    private func work(as worker: Int) {
        pthread_setspecific(key, UnsafeRawPointer(bitPattern: worker + 1))
        if isBound { Topology.current.bind(to: worker) }
        while !isShuttingDown.load(ordering: .acquiring) {
            if spin(until: { openJobs.load(ordering: .acquiring) > 0 || isShuttingDown.load(ordering: .relaxed) }) {
                help(as: worker)
                continue
            }
            sleepUntilCall(unless: {
                openJobs.load(ordering: .sequentiallyConsistent) > 0
                    || isShuttingDown.load(ordering: .sequentiallyConsistent)
            })
        }
    }

    /// Takes tasks of others' jobs, those from outside first: jobs of jobs follow from them.
    private func help(as worker: Int) {
        for index in 0..<workerCount * Self.nesting {
            let job = jobs + index
            guard job.pointee.hasTasks else { continue }
            let done = takeTasks(of: job, as: worker)
            if done > 0 { return report(done, of: job) }
        }
        pauseSpinning()
    }

    /// Waits for the helpers of a job. A leader that is not within a task helps with other calls meanwhile.
    private func waitForOthers(_ job: UnsafeMutablePointer<Job>, until target: UInt32, isWithinTask: Bool) {
        func isDone() -> Bool { job.pointee.finished.value == target }
        func hasWork() -> Bool { !isWithinTask && openJobs.load(ordering: .sequentiallyConsistent) > 0 }
        while !isDone() {
            if spin(until: { isDone() || hasWork() }) {
                if hasWork() { help(as: 0) }
                continue
            }
            job.pointee.awaited.store(target, ordering: .sequentiallyConsistent)
            if isWithinTask {
                let finished = job.pointee.finished.value
                if finished != target { job.pointee.finished.sleep(while: finished) }
            } else {
                sleepUntilCall(unless: { isDone() || hasWork() })
            }
            job.pointee.awaited.store(0, ordering: .relaxed)
        }
    }

    /// Whoever makes `condition` true must change `calls` afterwards.
    private func sleepUntilCall(unless condition: () -> Bool) {
        let seen = calls.value
        sleepers.add(1, ordering: .sequentiallyConsistent)
        if !condition() { calls.sleep(while: seen) }
        sleepers.subtract(1, ordering: .relaxed)
    }

    /// Tells the leader of a job that a helper has done so many tasks and takes no more.
    private func report(_ done: Int, of job: UnsafeMutablePointer<Job>) {
        let finished = job.pointee.finished.add(done)
        guard job.pointee.awaited.load(ordering: .sequentiallyConsistent) == finished else { return }
        job.pointee.finished.wake(1)
        // A leader outside of tasks sleeps as the workers do, who are wanted for its next call anyway.
        calls.add(1)
        calls.wake(workerCount)
    }

    /// How long a waiting thread looks before it sleeps, so that the phases of a step, which follow each
    /// other closely, do not pay for a wake-up each. Nothing where threads share cores.
    private let spinLimit: Duration

    /// Looks until `condition` holds, or not for longer than `spinLimit`.
    @inline(__always)
    private func spin(until condition: () -> Bool) -> Bool {
        if condition() { return true }
        if spinLimit == .zero { return false }
        let start = ContinuousClock.now
        repeat {
            for _ in 0..<32 {
                if condition() { return true }
                pauseSpinning()
            }
        } while ContinuousClock.now - start < spinLimit
        return false
    }
}

/// One call of `forEach`. Its memory serves later calls, so a worker that comes late touches nothing that is gone.
private struct Job: ~Copyable {
    /// The number of tasks in the upper half, the next task in the lower one: taking a task is one addition,
    /// whose result tells all about it. The workers that come too late add at most one each.
    private let ticket = Atomic<UInt64>(0)
    /// Written before the ticket, read by who has a task, until which the call does not end.
    let body = UnsafeMutablePointer<UnsafePointer<(Int, Int) -> Void>>.allocate(capacity: 1)
    /// Tasks that others than the leader have done.
    let finished = WaitWord()
    /// What `finished` must be for a leader that sleeps; else 0.
    let awaited = Atomic<UInt32>(0)
    /// Keeps jobs on cache lines of their own.
    private let padding = SIMD8<UInt64>.zero

    func open(_ count: Int, _ body: UnsafePointer<(Int, Int) -> Void>) {
        require(count < 1 << 31, "\(count) tasks")
        finished.set(0)
        self.body.initialize(to: body)
        ticket.store(UInt64(count) << 32, ordering: .releasing)
    }

    deinit {
        body.deallocate()
        finished.destroy()
    }

    var hasTasks: Bool { Self.task(ticket.load(ordering: .relaxed)) != nil }

    func claim() -> Int? { Self.task(ticket.add(1, ordering: .acquiring).oldValue) }

    private static func task(_ ticket: UInt64) -> Int? {
        let (count, next) = (ticket >> 32, ticket & 0xFFFF_FFFF)
        return next < count ? Int(next) : nil
    }
}

extension WorkerPool {
    /// "4 workers, each bound to a core: 4 cores on 1 socket, 1 NUMA node"
    public var summary: String {
        "\(workerCount) worker\(workerCount == 1 ? "" : "s")" + (isBound ? ", each bound to a core" : "") + ": "
            + Topology.current.summary
    }
}

/// What a new thread is told. It must not keep its pool alive, and the pool joins its threads before it goes.
private final class ThreadStart {
    let pool: Unmanaged<WorkerPool>
    let worker: Int
    init(pool: Unmanaged<WorkerPool>, worker: Int) {
        self.pool = pool
        self.worker = worker
    }
}

/// An error on its way from a worker to the caller, which waits for it.
private struct SendableError: @unchecked Sendable {
    let error: any Error
    init(_ error: any Error) { self.error = error }
}

/// What a system grants is not known before it refuses.
private func endWithoutThreads(_ started: Int, of count: Int) -> Never {
    endProgram(
        "the system starts no more than \(started) of \(count) worker threads",
        hint: "lower training.threads (or --threads), or raise the limit: `ulimit -u` is \(processLimit), a control "
            + "group's is in its pids.max; stacks count into `ulimit -v`",
        status: 64)
}
