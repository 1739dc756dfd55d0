import TensorCore

/// What a number of workers would make of recorded work, as `WorkerPool` shares it out: each takes the next task
/// of a call when it is free, a call ends with its last task, and workers without a task take those of calls
/// within tasks, the oldest call first.
package struct Schedule {
    private final class Call {
        let tasks: [[TaskRecorder.Piece]]
        let leader: Int
        /// The next task that a worker who comes takes, and the next of a chain.
        private var next: Int
        private var nextOfChain = 0
        private let chained: Int
        private var chainsToStart: Int
        var finished = 0

        init(_ phase: TaskRecorder.Phase, leader: Int) {
            tasks = phase.tasks
            self.leader = leader
            (chained, next) = (phase.chained, phase.chained)
            chainsToStart = min(phase.chains, phase.chained)
        }
        var hasTasks: Bool { (chainsToStart > 0 && nextOfChain < chained) || next < tasks.count }

        func take() -> Int {
            if chainsToStart > 0 {
                chainsToStart -= 1
                if let index = takeNext(after: 0) { return index }
            }
            next += 1
            return next - 1
        }

        /// What the worker of a chain does when it is done with one of its tasks.
        func takeNext(after index: Int) -> Int? {
            guard index < chained, nextOfChain < chained else { return nil }
            nextOfChain += 1
            return nextOfChain - 1
        }
        var isFinished: Bool { finished == tasks.count }
    }

    private enum Frame {
        /// A task of a call, before its piece `next`.
        case task(Call, index: Int, next: Int)
        case lead(Call)
    }

    private let handOver: Double
    private var calls: [Call] = []
    private var stacks: [[Frame]]
    /// When each worker is done with what it does; infinite: it waits.
    private var due: [Double]
    private var now = 0.0

    /// The seconds of a call from outside of any task. `handOver`: those between the start or end of a call on one
    /// worker and its sight by another.
    package static func seconds(_ phase: TaskRecorder.Phase, workers: Int, handOver: Double) -> Double {
        if workers == 1 { return phase.tasks.reduce(0) { $0 + $1.seconds } }
        var schedule = Schedule(workers: workers, handOver: handOver)
        return schedule.run(phase)
    }

    private init(workers: Int, handOver: Double) {
        self.handOver = handOver
        stacks = Array(repeating: [], count: workers)
        due = Array(repeating: .infinity, count: workers)
    }

    private mutating func run(_ phase: TaskRecorder.Phase) -> Double {
        open(phase, by: 0)
        due[0] = 0
        while !stacks[0].isEmpty {
            let worker = due.indices.min { due[$0] < due[$1] }!
            now = due[worker]
            advance(worker)
        }
        return now
    }

    private mutating func open(_ phase: TaskRecorder.Phase, by worker: Int) {
        let call = Call(phase, leader: worker)
        stacks[worker].append(.lead(call))
        guard phase.tasks.count > 1 else { return }
        calls.removeAll { !$0.hasTasks }
        calls.append(call)
        for other in due.indices where due[other] == .infinity && isFree(other) { due[other] = now + handOver }
    }

    /// Whether a worker that waits may take any task: it is not within one.
    private func isFree(_ worker: Int) -> Bool { stacks[worker].isEmpty || (worker == 0 && stacks[0].count == 1) }

    /// Lets a worker go on until something takes time.
    private mutating func advance(_ worker: Int) {
        while true {
            switch stacks[worker].last {
            case .task(let call, let index, let next)?:
                stacks[worker].removeLast()
                guard next < call.tasks[index].count else {
                    call.finished += 1
                    if call.isFinished, call.leader != worker, due[call.leader] == .infinity {
                        due[call.leader] = now + handOver
                    }
                    if let index = call.takeNext(after: index) {
                        stacks[worker].append(.task(call, index: index, next: 0))
                        continue
                    }
                    // A helper stays with a call as long as it has tasks.
                    if call.leader != worker, call.hasTasks { take(call, worker) }
                    continue
                }
                stacks[worker].append(.task(call, index: index, next: next + 1))
                switch call.tasks[index][next] {
                case .alone(let seconds):
                    due[worker] = now + seconds
                    return
                case .phase(let phase): open(phase, by: worker)
                }
            case .lead(let call)? where call.hasTasks: take(call, worker)
            case .lead(let call)? where call.isFinished:
                stacks[worker].removeLast()
                if worker == 0, stacks[0].isEmpty { return }
            default:
                guard isFree(worker), let call = calls.first(where: \.hasTasks) else {
                    due[worker] = .infinity
                    return
                }
                take(call, worker)
            }
        }
    }

    private mutating func take(_ call: Call, _ worker: Int) {
        stacks[worker].append(.task(call, index: call.take(), next: 0))
    }
}
