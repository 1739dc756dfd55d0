import LLaMA
import Optimizers
import Settings
import TensorCore

/// A run on several ranks, each with a machine like this one, a share of the batch and a share of the optimizer.
public struct RanksPlan: Codable, Equatable, Sendable {
    public let count: Int
    /// The rate of the network, in each direction.
    public let gigabitsPerSecond: Double
    /// What the exchange of gradients and weights takes in a step.
    public let communicationSeconds: Double
    /// Of the optimizer's work, what the rank has that has the most.
    public let optimizerShare: Double
    /// How much faster than one rank, over their number; nil where no speed was measured.
    public internal(set) var efficiency: Double?

    /// What remains of a network's rate for gradients and weights: an estimate, `docs/results/cluster.md` has what was seen.
    private static let usableShare = 0.85

    public init(_ configuration: RunConfiguration, count: Int, gigabitsPerSecond: Double) throws {
        try configuration.training.check(ranks: count)
        (self.count, self.gigabitsPerSecond) = (count, gigabitsPerSecond)
        let pool = WorkerPool(threads: 1)
        let shares = (0..<count).map { rank in
            configuration.dryRun(pool: pool, rank: rank, ranks: count).optimizer.slots.reduce(0) { $0 + $1.meanFLOPs }
        }
        optimizerShare = (shares.max() ?? 0) / shares.reduce(0, +)
        let parameters = configuration.dryRun(pool: pool).model.parameterCount
        let bytes = 8 * Double(parameters) * Double(count - 1) / Double(count)
        communicationSeconds = bytes / (gigabitsPerSecond / 8 * 1e9 * Self.usableShare)
    }
}
