import Console
import Glibc
import LLaMA
import Machine
import Optimizers
import Settings
import Synchronization
import TensorCore

/// How much faster a step would be on more workers, and how much faster it is on those that this machine has.
///
/// A step is made on one worker and the time of each of its tasks is recorded; what a team would make of them is a
/// matter of scheduling. Two layers stand for all: what a layer calls counts once for each. Not in the prediction: memory
/// and caches that cores share, and their lower clock when all of them work.
public struct Scaling: Encodable, Sendable {
    /// The calls of one name, all of a step.
    public struct Phase: Encodable, Sendable {
        public let name: String
        /// Of one worker.
        public let seconds: Double
        public let longestTask: Double
        public let speedUp: [Int: Double]
    }

    public let predicted: [Int: Double]
    public private(set) var measured: [Int: Double] = [:]
    /// Sorted: those that take longest on many workers come first.
    public let phases: [Phase]
    /// Seconds of a call to which all workers come, by their number, as measured here; of a call of so many empty tasks
    /// where there are more workers than cores.
    public let callSeconds: [Int: Double]
    /// What each worker but the first adds to that where there is a core for each: by the team that was disturbed least.
    public let handOver: Double

    public static let usualWorkers = [1, 2, 4, 8, 16, 32, 64, 128]

    /// `workers`: for whom to predict. `measuring`: whether to time this machine's own numbers of workers too.
    public init(_ configuration: RunConfiguration, workers: [Int] = usualWorkers, measuring: Bool) throws {
        let teams = Array(Set(workers + [1])).sorted()
        let calls = Self.callSeconds()
        callSeconds = calls
        handOver = calls.filter { $0.key <= max(2, availableCoreCount) }.map { $0.value / Double($0.key - 1) }.min()!

        var times: [String: Times] = [:]
        for (share, pieces) in try Self.recordings(configuration) {
            for (name, part) in Self.times(pieces, teams, handOver) {
                times[name, default: Times()].add(part, share(name))
            }
        }
        let totals = teams.map { team in times.values.reduce(0) { $0 + $1.seconds[team, default: 0] } }
        predicted = Dictionary(uniqueKeysWithValues: zip(teams, totals.map { totals[0] / $0 }))
        let most = teams.last!
        phases = times.sorted { $0.value.seconds[most]! > $1.value.seconds[most]! }.map { name, times in
            Phase(
                name: name, seconds: times.seconds[1]!, longestTask: times.longest,
                speedUp: times.seconds.mapValues { times.seconds[1]! / $0 })
        }
        if measuring { measured = try Self.measure(configuration) }
    }

    /// Seconds by number of workers.
    private struct Times {
        var seconds: [Int: Double] = [:]
        var longest = 0.0

        mutating func add(_ other: Times, _ share: Double) {
            for (team, value) in other.seconds { seconds[team, default: 0] += share * value }
            longest = max(longest, other.longest)
        }
    }

    private static func times(_ pieces: [TaskRecorder.Piece], _ teams: [Int], _ handOver: Double) -> [String: Times] {
        var times: [String: Times] = [:]
        for piece in pieces {
            switch piece {
            case .alone(let seconds):
                let alone = Times(
                    seconds: Dictionary(uniqueKeysWithValues: teams.map { ($0, seconds) }), longest: seconds)
                times["on one worker", default: Times()].add(alone, 1)
            case .phase(let phase):
                let seconds = teams.map {
                    ($0, Schedule.seconds(phase, workers: $0, handOver: handOver * Double($0 - 1) / 2))
                }
                let longest = phase.tasks.map(\.seconds).max() ?? 0
                times[phase.name, default: Times()].add(
                    Times(seconds: Dictionary(uniqueKeysWithValues: seconds), longest: longest), 1)
            }
        }
        return times
    }

    /// What a step is made of, and how often each call of a name counts: those that a layer makes, once for each.
    private static func recordings(
        _ configuration: RunConfiguration
    ) throws -> [((_ name: String) -> Double, [TaskRecorder.Piece])] {
        let alone = WorkerPool(threads: 1)
        let layers = configuration.model.numHiddenLayers
        let microBatches = configuration.training.microBatchPasses
        let step = PartialStep(configuration, layers: min(2, layers), pool: alone)
        let passes = try record(on: alone) { try step.microBatch() }
        var shares: [String: Double] = [:]
        if layers > 2 {
            let single = PartialStep(configuration, layers: 1, pool: alone)
            let few = try record(on: alone, rounds: 1) { try single.microBatch() }.callCounts
            for (name, count) in passes.callCounts {
                let first = Double(few[name] ?? 0)
                shares[name] = (first + Double(layers - 1) * (Double(count) - first)) / Double(count)
            }
        }
        let size = Double(configuration.dryRun(pool: alone).model.parameterCount) / Double(step.model.parameterCount)
        let optimizer = OptimizerStep(configuration, pool: alone)
        return [
            ({ [shares] in microBatches * (shares[$0] ?? 1) }, passes),
            ({ _ in size }, try record(on: alone, step.surroundings)),
            ({ _ in optimizer.share }, optimizer.chained(try record(on: alone, optimizer.run))),
        ]
    }

    /// The speed-up of this machine's teams, in turns.
    private static func measure(_ configuration: RunConfiguration) throws -> [Int: Double] {
        let layers = configuration.model.numHiddenLayers
        let teams = usualWorkers.filter { $0 <= availableCoreCount }
        let microBatches = configuration.training.microBatchPasses
        let rounds = 3
        var sums = Array(repeating: Array(repeating: 0.0, count: teams.count), count: rounds)
        func add(_ share: Double, _ works: [() throws -> Void]) throws {
            for work in works { try work() }
            for round in 0..<rounds {
                for (index, work) in works.enumerated() {
                    let start = StatusLine.now()
                    try work()
                    sums[round][index] += share * (StatusLine.now() - start)
                }
            }
        }
        let pools = teams.map { WorkerPool(threads: $0) }
        for (count, share) in layers <= 2 ? [(layers, 1.0)] : [(1, Double(2 - layers)), (2, Double(layers - 1))] {
            let steps = pools.map { PartialStep(configuration, layers: count, pool: $0) }
            try add(share * microBatches, steps.map { step in { try step.microBatch() } })
            try add(share, steps.map { $0.surroundings })
        }
        // One after the other: their state may be large.
        for (index, pool) in pools.enumerated() {
            let optimizer = OptimizerStep(configuration, pool: pool)
            try optimizer.run()
            for round in 0..<rounds {
                let start = StatusLine.now()
                try optimizer.run()
                sums[round][index] += optimizer.share * (StatusLine.now() - start)
            }
        }
        return Dictionary(
            uniqueKeysWithValues: teams.indices.map { index in
                (teams[index], sums.map { $0[0] / $0[index] }.sorted()[rounds / 2])
            })
    }

    /// Seconds of a call, by the number of workers: the median over many. Where each has a core it ends when all have
    /// come to it, and calls in which another program took a core are left out; where they share cores, each has an empty
    /// task.
    private static func callSeconds() -> [Int: Double] {
        func seconds(_ workers: Int) -> Double {
            let pool = WorkerPool(threads: workers)
            let comeAll = workers <= availableCoreCount
            let limit = comeAll ? 1e-4 : .infinity
            var (undisturbed, shortest) = ([Double](), Double.infinity)
            let begin = StatusLine.now()
            // On a busy machine it takes a while to meet some.
            while undisturbed.count < 1000, StatusLine.now() < begin + (undisturbed.count < 20 ? 10 : 1) {
                let arrived = Atomic<Int>(0)
                let start = StatusLine.now()
                pool.forEach(workers) { _, _ in
                    arrived.add(1, ordering: .sequentiallyConsistent)
                    while comeAll, arrived.load(ordering: .sequentiallyConsistent) < workers {
                        if StatusLine.now() - start > limit { sched_yield() }
                    }
                }
                let seconds = StatusLine.now() - start
                shortest = min(shortest, seconds)
                if seconds < limit { undisturbed.append(seconds) }
            }
            return undisturbed.isEmpty ? shortest : median(undisturbed)
        }
        let teams = [2, 4, availableCoreCount, 4 * availableCoreCount].filter { $0 > 1 }
        return Dictionary(uniqueKeysWithValues: Set(teams).map { ($0, seconds($0)) })
    }
}

/// What some work on a pool of one worker is made of: the shortest of some recordings, after one that touches memory.
private func record(on pool: WorkerPool, rounds: Int = 3, _ work: () throws -> Void) throws -> [TaskRecorder.Piece] {
    try work()
    var best: [TaskRecorder.Piece]?
    for _ in 0..<rounds {
        let recorder = TaskRecorder()
        pool.recorder = recorder
        defer { pool.recorder = nil }
        try work()
        let pieces = recorder.finish()
        best = best?.shortest(pieces) ?? pieces
    }
    return best!
}

/// An ordinary step of the optimizer on all parameters; on those of fewer layers where memory is short.
private final class OptimizerStep {
    /// The layers of the model over those of this step.
    let share: Double
    private let optimizer: Optimizer

    init(_ configuration: RunConfiguration, pool: WorkerPool) {
        var configuration = configuration
        let layers = configuration.model.numHiddenLayers
        let available = MachineMemory.current?.available ?? .max
        while configuration.model.numHiddenLayers > 1 {
            let (model, optimizer) = configuration.dryRun(pool: pool)
            let bytes = model.memory.weights + model.memory.gradients + optimizer.stateByteCount
            if bytes + optimizer.scratchByteCount < available / 2 { break }
            configuration.model.numHiddenLayers /= 2
        }
        share = Double(layers) / Double(configuration.model.numHiddenLayers)
        let parameters = configuration.dryRun(pool: pool).model.parameters.map {
            Parameter(name: $0.name, shape: $0.shape, role: $0.role)
        }
        for parameter in parameters { fill(parameter.gradient, from: -1e-3, seed: parameter.name) }
        optimizer = Optimizer(configuration.optimizer, parameters: parameters, pool: pool)
    }

    /// The matrices of a recorded step wait for scratch memory.
    func chained(_ pieces: [TaskRecorder.Piece]) -> [TaskRecorder.Piece] {
        pieces.map { piece in
            guard case .phase(var phase) = piece, phase.name == "\(Optimizer.phase)" else { return piece }
            (phase.chained, phase.chains) = (optimizer.matrices.count, optimizer.matricesAtOnce)
            return .phase(phase)
        }
    }

    func run() throws {
        // The first step may make bases; step 2 is an ordinary one for every interval.
        optimizer.stepCount = min(1, optimizer.stepCount)
        try optimizer.step(learningRateFactor: 1e-6)
    }
}
