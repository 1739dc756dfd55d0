import Configuration
import Files
import Foundation
import LLaMA
import Machine
import Optimizers
import Settings
import TensorCore

/// What a run will take: memory, arithmetic, disk and time. Nothing of it is allocated to find out.
public struct RunPlan: Codable, Sendable {
    /// Parameters of one role, and the rule that the optimizer has for it.
    public struct Role: Codable, Equatable, Sendable {
        public let role: String
        public let tensors: Int
        public let parameters: Int
        public let rule: String
        public let stateBytes: Int
    }

    public struct Disk: Codable, Equatable, Sendable {
        public let checkpoint: Int
        /// While one more than the kept ones is being written.
        public let most: Int
        public let free: Int
    }

    /// How fast, from a probe on this machine.
    public struct Speed: Codable, Equatable, Sendable {
        /// By the median measurement, the slowest and the fastest.
        public let tokensPerSecond: Double
        public let slowestTokensPerSecond: Double
        public let fastestTokensPerSecond: Double
        public let stepSeconds: Double
        public let optimizerSeconds: Double
        /// Of the whole run, validations included.
        public let runSeconds: Double
        public let flopsPerSecond: Double
        /// Model FLOPs utilization: of what the CPU's multiply units do at most, as measured.
        public let mfu: Double
        /// Cores that other programs used during the measurement; nil where the system does not say.
        public let othersCores: Double?
        /// What was measured and how the rest follows.
        public let method: String
    }

    public let optimizer: String
    public let roles: [Role]
    public let memory: MemoryPlan
    /// `peak_rss_bytes` that the run's log will show.
    public let peakResidentBytes: Int
    /// nil where the system does not say.
    public let machine: MachineMemory?
    public let fits: Bool
    /// Why this CPU cannot make the run, whatever its memory; nil if it can.
    public let unsupported: String?
    public let steps: Int
    public let tokensPerStep: Int
    public let flopsPerToken: Double
    public let runFlops: Double
    public let disk: Disk
    /// How many, and the cores that they have.
    public let workers: String
    /// nil for one process alone.
    public internal(set) var ranks: RanksPlan?
    public internal(set) var speed: Speed?
    /// Why there is no speed although it was measured.
    public internal(set) var speedProblem: String?

    public var parameterCount: Int { roles.reduce(0) { $0 + $1.parameters } }
    public var tokens: Int { steps * tokensPerStep }

    /// Everything but the speed. `program`: the memory of the process before the run. `ranks`: who makes it, nil for
    /// this process alone; memory is then that of the rank that takes the most.
    public init(
        _ configuration: RunConfiguration, pool: WorkerPool, program: Int, machine: MachineMemory?,
        ranks: RanksPlan? = nil
    ) throws {
        let (model, optimizer) = configuration.dryRun(pool: pool)
        self.optimizer = configuration.optimizer.name
        roles = Self.roles(of: optimizer)
        self.ranks = ranks
        let count = ranks?.count ?? 1
        memory = try (0..<count).map {
            try MemoryPlan(configuration, pool: pool, program: program, rank: $0, ranks: count)
        }.max { $0.required < $1.required }!
        peakResidentBytes = memory.required
        self.machine = machine
        let required = memory.required
        fits = machine.map { required <= $0.available } ?? true
        unsupported = configuration.unsupportedPrecision?.message
        (steps, tokensPerStep) = (configuration.steps, configuration.tokensPerStep)
        flopsPerToken =
            FLOPCount(configuration.model, sequenceLength: configuration.data.sequenceLength).trainingPerToken
        workers = pool.summary
        runFlops = flopsPerToken * Double(steps) * Double(tokensPerStep)
        let checkpoint =
            try model.memory.weights + optimizer.stateByteCount + configuration.tokenizerFileSize()
        disk = Disk(
            checkpoint: checkpoint,
            most: (configuration.output.keepCheckpoints
                + (configuration.schedule.decayStart(of: configuration.steps) == nil ? 1 : 2)) * checkpoint,
            free: try freeSpace(in: existingFolder(above: configuration.output.runDirectory)))
    }

    package static func roles(of optimizer: Optimizer) -> [Role] {
        let groups = Dictionary(grouping: optimizer.slots) { kind(of: $0.parameter.role) }
        return ["embedding", "matrices", "norm gains", "lm_head"].compactMap { kind in
            groups[kind].map { slots in
                Role(
                    role: kind, tensors: slots.count, parameters: slots.reduce(0) { $0 + $1.parameter.count },
                    rule: slots[0].ruleName, stateBytes: slots.reduce(0) { $0 + $1.stateByteCount })
            }
        }
    }

    private static func kind(of role: ParameterRole) -> String {
        switch role {
        case .embedding: "embedding"
        case .lmHead: "lm_head"
        case .matrix: "matrices"
        case .vector: "norm gains"
        }
    }
}

/// The innermost folder of a path that is there already.
private func existingFolder(above path: String) -> String {
    var url = URL(filePath: path).standardizedFileURL
    while access(url.path, F_OK) != 0, url.path != "/" { url.deleteLastPathComponent() }
    return url.path
}

extension RunConfiguration {
    /// The same run with each optimizer there is: this one's settings, and for the others their defaults,
    /// with this one's values where they have a setting of the same name that takes them (the learning
    /// rate, betas, eps, a rank).
    public func withEveryOptimizer() throws -> [RunConfiguration] {
        try optimizers.map { other in
            if other.name == optimizer.name { return self }
            func settings(_ lines: [String]) throws -> OptimizerConfiguration {
                let yaml = (["name: \(other.name)"] + lines).joined(separator: "\n")
                return try OptimizerConfiguration(
                    ConfigurationNode(yaml: yaml, file: "plan"), at: "optimizer",
                    forBFloat16Training: training.precision == .bf16)
            }
            let shared = optimizer.hyperparameters.values.filter { !$0.key.contains(".") }
                .map { "\($0.key): \($0.value)" }.filter { (try? settings([$0])) != nil }
            var run = self
            run.optimizer = try settings(shared)
            return run
        }
    }
}
