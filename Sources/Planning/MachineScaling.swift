import Console
import LLaMA
import Machine
import Optimizers
import Settings
import Synchronization
import TensorCore

/// What this machine's cores make of a step, by numbers of workers that have a core each.
struct MachineScaling {
    /// How many times as fast a whole step is as on one worker, by the wall's clock. Empty where a model for each of
    /// the teams does not fit the memory.
    let speedUps: [Int: Double]
    /// How many times as long the tasks of each phase take where so many steps run at once, each on a core with memory of
    /// its own, as those of one alone: what cores share, whatever the pool does. Empty where these do not fit.
    let slowDowns: [Int: [String: Double]]

    /// `seconds`: of whole steps; three of each team take longer where steps are long.
    init(_ configuration: RunConfiguration, seconds: Double) throws {
        let teams = Scaling.usualWorkers.filter { $0 <= availableCoreCount }
        slowDowns = try Self.slowDowns(configuration, teams, seconds: seconds / 3)
        speedUps = try Self.speedUps(configuration, teams, seconds: seconds)
    }

    /// A step of some layers with the optimizer's, on random tokens.
    private struct Step {
        private let passes: PartialStep
        private let optimizer: Optimizer

        init(_ configuration: RunConfiguration, layers: Int, pool: WorkerPool) {
            passes = PartialStep(configuration, layers: layers, pool: pool)
            optimizer = configuration.makeOptimizer(for: passes.model)
        }

        /// Whether one for each of these pools fits the memory.
        static func fits(_ configuration: RunConfiguration, layers: Int, pools: [WorkerPool]) -> Bool {
            let bytes = withoutMemory {
                pools.map { pool in
                    let model = configuration.makeModel(pool: pool, layers: layers)
                    let optimizer = configuration.makeOptimizer(for: model)
                    return model.memory.total + optimizer.stateByteCount + optimizer.scratchByteCount
                }
            }
            return bytes.reduce(0, +) < MachineMemory.current?.available ?? .max
        }

        /// The seconds of one micro-batch, and of all else.
        @discardableResult
        func run() throws -> (microBatch: Double, rest: Double) {
            let start = StatusLine.now()
            try passes.surroundings()
            let middle = StatusLine.now()
            try passes.microBatch()
            let end = StatusLine.now()
            try optimizer.ordinaryStep()
            return (end - middle, middle - start + StatusLine.now() - end)
        }
    }

    /// Whole steps of all teams in turns.
    private static func speedUps(
        _ configuration: RunConfiguration, _ teams: [Int], seconds: Double
    ) throws -> [Int: Double] {
        let layers = configuration.model.numHiddenLayers
        // A bound pool binds this thread, and threads that it starts later: it is made last.
        let pools = teams.map { WorkerPool(threads: $0, binding: configuration.training.bindThreads) }
        guard Step.fits(configuration, layers: layers, pools: pools) else { return [:] }
        let steps = pools.map { Step(configuration, layers: layers, pool: $0) }
        let microBatches = configuration.training.microBatchPasses
        let rounds = try repeated(seconds: seconds, atLeast: 3) {
            try steps.map { step in
                let (microBatch, rest) = try step.run()
                return microBatches * microBatch + rest
            }
        }
        return Dictionary(
            uniqueKeysWithValues: teams.enumerated().map { index, team in
                (team, median(rounds.map { $0[0] / $0[index] }))
            })
    }

    /// Steps of two layers, of one alone and of as many as each team has workers, in turns.
    private static func slowDowns(
        _ configuration: RunConfiguration, _ teams: [Int], seconds: Double
    ) throws -> [Int: [String: Double]] {
        let layers = min(2, configuration.model.numHiddenLayers)
        let pools = (0..<teams.last!).map { _ in WorkerPool(threads: 1) }
        guard Step.fits(configuration, layers: layers, pools: pools) else { return [:] }
        let steps = pools.map { Step(configuration, layers: layers, pool: $0) }
        // In the same order as above.
        let drivers = teams.map { WorkerPool(threads: $0, binding: true) }
        /// The mean of so many steps at once.
        func secondsByPhase(_ count: Int, on driver: WorkerPool) throws -> [String: Double] {
            let sums = Mutex<[String: Double]>([:])
            try driver.forEach(count, cancellation: nil) { index, _ in
                let calls = try pools[index].recorded { try steps[index].run() }.calls
                sums.withLock { $0.merge(calls.mapValues { $0.seconds / Double(count) }, uniquingKeysWith: +) }
            }
            return sums.withLock { $0 }
        }
        let rounds = try repeated(seconds: seconds, atLeast: 3) {
            try zip(teams, drivers).map { try secondsByPhase($0, on: $1) }
        }
        var slowDowns: [Int: [String: Double]] = [:]
        for (index, team) in teams.enumerated() {
            for name in rounds[0][0].keys where rounds.allSatisfy({ $0[0][name]! > 0 }) {
                slowDowns[team, default: [:]][name] = median(rounds.map { $0[index][name]! / $0[0][name]! })
            }
        }
        return slowDowns
    }
}
