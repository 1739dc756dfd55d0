import Foundation
import Planning
import TensorCore
import Testing

@Suite struct ScalingTests {
    private static func phase(_ seconds: [Double]) -> TaskRecorder.Phase {
        TaskRecorder.Phase(name: "phase", tasks: seconds.map { [.alone($0)] })
    }

    /// Sums that can be done by hand.
    @Test func tasksGoToTheNextFreeWorker() {
        let even = Self.phase(Array(repeating: 1, count: 8))
        #expect(Schedule.seconds(even, workers: 1, handOver: 0.5) == 8)
        #expect(Schedule.seconds(even, workers: 4, handOver: 0) == 2)
        #expect(Schedule.seconds(even, workers: 3, handOver: 0) == 3)
        #expect(Schedule.seconds(even, workers: 100, handOver: 0) == 1)
        // The others come late and are seen late.
        #expect(Schedule.seconds(Self.phase([1, 1]), workers: 2, handOver: 0.25) == 1.5)
        // A long task that comes last keeps all waiting.
        #expect(Schedule.seconds(Self.phase([1, 1, 1, 1, 4]), workers: 2, handOver: 0) == 6)
    }

    /// Matrices that wait for scratch memory: two at a time, beside tasks that need none.
    @Test func chainsAreDoneInTurn() {
        var step = Self.phase([3, 2, 2, 1, 1, 1, 1, 1])
        (step.chained, step.chains) = (4, 2)
        #expect(Schedule.seconds(step, workers: 1, handOver: 0) == 12)
        // 3 + 1 and 2 + 2, whoever does the rest.
        #expect(Schedule.seconds(step, workers: 100, handOver: 0) == 4)
        #expect(Schedule.seconds(step, workers: 3, handOver: 0) == 4)
        #expect(Schedule.seconds(step, workers: 2, handOver: 0) == 6)
    }

    /// One task with an inner call of six: who is free helps.
    @Test func idleWorkersHelpWithinTasks() {
        let inner = TaskRecorder.Piece.phase(Self.phase(Array(repeating: 1, count: 6)))
        let outer = TaskRecorder.Phase(
            name: "outer", tasks: [[.alone(1), inner, .alone(1)], [.alone(2)], [.alone(1)]])
        #expect(Schedule.seconds(outer, workers: 1, handOver: 0) == 11)
        // 1 + 6/3 + 1, one of the three helpers coming a second later.
        #expect(Schedule.seconds(outer, workers: 3, handOver: 0) == 5)
        #expect(Schedule.seconds(outer, workers: 7, handOver: 0) == 3)
    }

    @Test func recordsWhatAPoolDoes() {
        let pool = WorkerPool(threads: 1)
        let pieces = pool.recorded {
            pool.forEach(3, phase: "outer") { task, _ in
                if task == 1 { pool.forEach(2, phase: "inner") { _, _ in } }
            }
        }
        #expect(pieces.calls.mapValues(\.count) == ["outer": 1])
        #expect(pieces.calls["outer"]!.seconds > 0 && pieces.calls["outer"]!.seconds <= pieces.seconds)
        guard case .phase(let outer) = pieces[1], case .phase(let inner) = outer.tasks[1][1] else {
            return #expect(Bool(false), "\(pieces)")
        }
        #expect(outer.tasks.count == 3 && inner.name == "inner" && inner.tasks.count == 2)
        #expect(pieces.seconds >= 0 && pieces.shortest(pieces).seconds == pieces.seconds)
    }

    /// Many layers cost in proportion, and the whole is the sum of its phases.
    @Test func aStepOfManyLayersIsPredictedFromTwo() throws {
        let configuration = try TinyRun().configuration(["model.num_hidden_layers=6", "training.micro_batch_size=8"])
        let scaling = try Scaling(configuration, workers: [4], measuring: nil)
        #expect(scaling.scheduled[1] == 1)
        #expect(scaling.scheduled.keys.sorted() == [1, 4])
        let seconds = scaling.phases.reduce(0) { $0 + $1.seconds }
        let onFour = scaling.phases.reduce(0) { $0 + $1.seconds / $1.speedUp[4]! }
        #expect(abs(seconds / onFour - scaling.scheduled[4]!) < 1e-9)
        #expect(scaling.phases.allSatisfy { $0.busyShare[1] == 1 && 4 * $0.busyShare[4]! == $0.speedUp[4]! })
        #expect(scaling.phases.contains { $0.name == "backward: MLP" })
        // Nothing is known of what cores share.
        #expect(scaling.predicted == scaling.scheduled && scaling.measured.isEmpty)
    }

    /// What cores share slows each phase down, and the prediction by it, as far as there are cores.
    @Test func thisMachinesCoresAreMeasured() throws {
        let scaling = try Scaling(try TinyRun().configuration([]), measuring: 0)
        let teams = Scaling.usualWorkers.filter { $0 <= availableCoreCount }
        #expect(scaling.measured.keys.sorted() == teams && scaling.measured[1] == 1)
        let seconds = scaling.phases.reduce(0) { $0 + $1.seconds }
        for team in teams {
            let slowed = scaling.phases.map { phase -> Double in
                let factor = phase.name == "on one worker" ? 1 : phase.slowDown[team]!
                return factor * phase.seconds / phase.speedUp[team]!
            }.reduce(0, +)
            #expect(abs(seconds / slowed - scaling.predicted[team]!) < 1e-9)
        }
        #expect(scaling.phases.allSatisfy { $0.name == "on one worker" || $0.slowDown[1] == 1 })
        #expect(scaling.predicted[64] == scaling.scheduled[64])
        struct Printed: Decodable {
            let predicted, measured: [Int: Double]
        }
        let printed = try JSONDecoder().decode(Printed.self, from: try JSONEncoder().encode(scaling))
        #expect(printed.predicted == scaling.predicted && printed.measured == scaling.measured)
    }
}
