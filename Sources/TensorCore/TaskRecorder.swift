import Glibc

/// The times of a thread's work, by how it was offered to a pool: from these one can tell what more workers
/// would make of it. Time is what the thread had of a core, so other programs disturb little.
package final class TaskRecorder {
    package enum Piece {
        /// Seconds of work that was not offered.
        case alone(Double)
        case phase(Phase)
    }

    /// One call of `forEach`: the pieces of each of its tasks.
    package struct Phase {
        package let name: String
        package var tasks: [[Piece]]
        /// So many of the first tasks are done one after the other, by no more workers at a time than `chains`.
        package var chained = 0
        package var chains = 0

        package init(name: String, tasks: [[Piece]]) {
            self.name = name
            self.tasks = tasks
        }
    }

    /// The pieces so far of each task under way, the innermost task last.
    private var open: [[Piece]] = [[]]
    private var mark = threadSeconds()

    package init() {}

    package func finish() -> [Piece] {
        endPiece()
        return open[0]
    }

    func record(_ count: Int, _ name: String, _ body: (_ task: Int) -> Void) {
        endPiece()
        var tasks: [[Piece]] = []
        tasks.reserveCapacity(count)
        for task in 0..<count {
            open.append([])
            mark = threadSeconds()
            body(task)
            endPiece()
            tasks.append(open.removeLast())
        }
        open[open.count - 1].append(.phase(Phase(name: name, tasks: tasks)))
        mark = threadSeconds()
    }

    private func endPiece() { open[open.count - 1].append(.alone(threadSeconds() - mark)) }
}

extension WorkerPool {
    /// What `work` on this pool of one worker is made of.
    package func recorded(_ work: () throws -> Void) rethrows -> [TaskRecorder.Piece] {
        let recorder = TaskRecorder()
        self.recorder = recorder
        defer { self.recorder = nil }
        try work()
        return recorder.finish()
    }
}

private func threadSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}

extension [TaskRecorder.Piece] {
    /// The seconds of one worker.
    package var seconds: Double {
        reduce(0) { sum, piece in
            switch piece {
            case .alone(let seconds): sum + seconds
            case .phase(let phase): sum + phase.tasks.reduce(0) { $0 + $1.seconds }
            }
        }
    }

    /// The calls of each name from outside of any task, and the seconds of their tasks.
    package var calls: [String: (count: Int, seconds: Double)] {
        reduce(into: [:]) { calls, piece in
            guard case .phase(let phase) = piece else { return }
            calls[phase.name, default: (0, 0)].count += 1
            calls[phase.name]!.seconds += phase.tasks.reduce(0) { $0 + $1.seconds }
        }
    }

    /// The shorter time of each piece of two recordings of the same work: other programs only ever make it longer.
    package func shortest(_ other: [TaskRecorder.Piece]) -> [TaskRecorder.Piece] {
        require(count == other.count, "recordings of different work")
        return zip(self, other).map { pair in
            switch pair {
            case (.alone(let a), .alone(let b)): return .alone(Swift.min(a, b))
            case (.phase(var a), .phase(let b)) where a.tasks.count == b.tasks.count:
                for task in a.tasks.indices { a.tasks[task] = a.tasks[task].shortest(b.tasks[task]) }
                return .phase(a)
            default: preconditionFailure("recordings of different work")
            }
        }
    }
}
