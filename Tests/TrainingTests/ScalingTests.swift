import Foundation
import Planning
import TensorCore
import Testing

@Suite struct ScalingTests {
    private static func phase(_ seconds: [Double]) -> TaskRecorder.Phase {
        TaskRecorder.Phase(name: "phase", tasks: seconds.map { [.alone($0)] })
    }

    /// Sums that can be done by hand.
    @Test func blocksGoToTheNextFreeWorker() {
        let even = Self.phase(Array(repeating: 1, count: 8))
        #expect(Schedule.seconds(even, workers: 1, handOver: 0.5) == 8)
        #expect(Schedule.seconds(even, workers: 4, handOver: 0) == 2)
        #expect(Schedule.seconds(even, workers: 3, handOver: 0) == 3)
        #expect(Schedule.seconds(even, workers: 100, handOver: 0) == 1)
        // The others come late and are seen late.
        #expect(Schedule.seconds(Self.phase([1, 1]), workers: 2, handOver: 0.25) == 1.5)
        // A long block that comes last keeps all waiting.
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

    /// One block with an inner call of six: who is free helps.
    @Test func idleWorkersHelpWithinBlocks() {
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
        let recorder = TaskRecorder()
        pool.recorder = recorder
        pool.forEach(3, phase: "outer") { block, _ in
            if block == 1 { pool.forEach(2, phase: "inner") { _, _ in } }
        }
        let pieces = recorder.finish()
        #expect(pieces.callCounts == ["outer": 1])
        guard case .phase(let outer) = pieces[1], case .phase(let inner) = outer.tasks[1][1] else {
            return #expect(Bool(false), "\(pieces)")
        }
        #expect(outer.tasks.count == 3 && inner.name == "inner" && inner.tasks.count == 2)
        #expect(pieces.seconds >= 0 && pieces.shortest(pieces).seconds == pieces.seconds)
    }

    /// Many layers cost in proportion, and the whole is the sum of its phases.
    @Test func aStepOfManyLayersIsPredictedFromTwo() throws {
        let configuration = try TinyRun().configuration(["model.num_hidden_layers=6", "training.micro_batch_size=8"])
        let scaling = try Scaling(configuration, workers: [4], measuring: false)
        #expect(scaling.predicted[1] == 1)
        #expect(scaling.predicted.keys.sorted() == [1, 4])
        let seconds = scaling.phases.reduce(0) { $0 + $1.seconds }
        let onFour = scaling.phases.reduce(0) { $0 + $1.seconds / $1.speedUp[4]! }
        #expect(abs(seconds / onFour - scaling.predicted[4]!) < 1e-9)
        #expect(scaling.phases.contains { $0.name == "backward: MLP" })
        let text = String(decoding: try JSONEncoder().encode(scaling), as: UTF8.self)
        #expect(text.contains(#""predicted":{"1":1"#) || text.contains(#""predicted":{"4":"#))
    }
}
