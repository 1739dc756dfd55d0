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
/// matter of scheduling. Two layers stand for all: what a layer calls counts once for each. What cores share, memory,
/// caches and their clock, is measured where there are cores (`MachineScaling`) and not known beyond.
public struct Scaling: Encodable, Sendable {
    /// The calls of one name, all of a step.
    public struct Phase: Encodable, Sendable {
        public let name: String
        /// Of one worker.
        public let seconds: Double
        public let longestTask: Double
        /// By scheduling alone, as the busy share.
        public let speedUp: [Int: Double]
        /// The part of the workers' time in which they have tasks.
        public let busyShare: [Int: Double]
        /// How many times as long its tasks take where so many cores work.
        public let slowDown: [Int: Double]
    }

    /// By scheduling alone.
    public let scheduled: [Int: Double]
    /// The same, with what cores share where that was measured.
    public let predicted: [Int: Double]
    /// Of whole steps.
    public let measured: [Int: Double]
    /// Sorted: those that take longest on many workers come first.
    public let phases: [Phase]
    /// Seconds of a call to which all workers come, by their number, as measured here; of a call of so many empty tasks
    /// where there are more workers than cores.
    public let callSeconds: [Int: Double]
    /// What each worker but the first adds to that where there is a core for each: by the team that was disturbed least.
    public let handOver: Double

    public static let usualWorkers = [1, 2, 4, 8, 16, 32, 64, 128]

    /// `workers`: for whom to predict. `seconds`: about how long to time whole steps on this machine's own numbers of
    /// workers, too; nil: nothing is timed on more than one.
    public init(
        _ configuration: RunConfiguration, workers: [Int] = usualWorkers, measuring seconds: Double?
    ) throws {
        let teams = Array(Set(workers + [1])).sorted()
        let calls = Self.callSeconds()
        callSeconds = calls
        let handOver = calls.filter { $0.key <= max(2, availableCoreCount) }.map { $0.value / Double($0.key - 1) }
            .min()!
        self.handOver = handOver

        var times: [String: Times] = [:]
        for (share, pieces) in try Self.recordings(configuration) {
            for (name, part) in Self.times(pieces, teams, handOver) {
                times[name, default: Times()].add(part, share(name))
            }
        }
        let machine = try seconds.map { try MachineScaling(configuration, seconds: $0) }
        let phases = times.filter { $0.value.seconds[1]! > 0 }.map { name, times in
            let speedUp = times.seconds.mapValues { times.seconds[1]! / $0 }
            return Phase(
                name: name, seconds: times.seconds[1]!, longestTask: times.longest, speedUp: speedUp,
                busyShare: Dictionary(uniqueKeysWithValues: speedUp.map { ($0, $1 / Double($0)) }),
                slowDown: machine?.slowDowns.compactMapValues { $0[name] } ?? [:])
        }.sorted { $0.seconds / $0.speedUp[teams.last!]! > $1.seconds / $1.speedUp[teams.last!]! }
        self.phases = phases
        /// Of all phases together.
        func speedUps(_ slowDown: (Phase, _ team: Int) -> Double) -> [Int: Double] {
            let seconds = teams.map { team in
                phases.reduce(0.0) { $0 + $1.seconds / $1.speedUp[team]! * slowDown($1, team) }
            }
            return Dictionary(uniqueKeysWithValues: zip(teams, seconds.map { seconds[0] / $0 }))
        }
        scheduled = speedUps { _, _ in 1 }
        predicted = speedUps { $0.slowDown[$1] ?? 1 }
        measured = machine?.speedUps ?? [:]
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
            let few = try record(on: alone, rounds: 1) { try single.microBatch() }.calls
            for (name, calls) in passes.calls {
                let (count, first) = (Double(calls.count), Double(few[name]?.count ?? 0))
                shares[name] = (first + Double(layers - 1) * (count - first)) / count
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
    let recordings = try (0..<rounds).map { _ in try pool.recorded(work) }
    return recordings.dropFirst().reduce(recordings[0]) { $0.shortest($1) }
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

    func run() throws { try optimizer.ordinaryStep() }
}

extension Optimizer {
    /// The first step may make bases; each further one is step 2, an ordinary one for every interval.
    func ordinaryStep() throws {
        stepCount = min(1, stepCount)
        try step(learningRateFactor: 1e-6)
    }
}
