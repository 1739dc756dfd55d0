import LLaMA
import Ranks
import TensorCore
import TokenData

/// The loss of a model over a fixed set of tokens: the exact mean, each token weighing the same.
public final class Evaluator {
    /// The windows that are evaluated, spread evenly over the data set, so that a part of it stands
    /// for the whole whatever its order.
    private let windows: [Int]
    private let microBatchSize: Int
    private let model: LLaMA
    private let dataset: TokenDataset
    private let ranks: Ranks
    private var batch = TokenBatch()
    /// Targets that each evaluation predicts.
    public let tokenCount: Int

    /// Evaluates `tokens` targets, rounded up to whole windows, or all there are (nil: all). The model must be made for
    /// `microBatchSize` sequences of the data set's length. `ranks` share the work.
    public init(model: LLaMA, dataset: TokenDataset, tokens: Int?, microBatchSize: Int, ranks: Ranks = Ranks()) {
        self.model = model
        (self.dataset, self.ranks) = (dataset, ranks)
        self.microBatchSize = microBatchSize
        func windows(_ count: Int) -> [Int] { (0..<count).map { $0 * dataset.windowCount / count } }
        func targets(_ windows: [Int]) -> Int { windows.reduce(0) { $0 + dataset.targetCount($1) } }
        let wanted = min(tokens ?? .max, dataset.targetCount)
        // Windows have equally many targets, or about that, where documents are rows: then a few more may be needed.
        let mean = Double(dataset.targetCount) / Double(dataset.windowCount)
        var count = min(Int((Double(wanted) / mean).rounded(.up)), dataset.windowCount)
        var chosen = windows(count)
        while targets(chosen) < wanted {
            count += max(1, Int(Double(wanted - targets(chosen)) / mean))
            chosen = windows(min(count, dataset.windowCount))
        }
        self.windows = chosen
        tokenCount = targets(chosen)
    }

    /// Evaluates. `progress` is told the number of targets done. Throws `CancellationError`.
    public func loss(cancellation: CancellationFlag? = nil, progress: (Int) -> Void = { _ in }) throws -> TokenLoss {
        // Of n ranks each takes every n-th micro-batch; the sum is in their order.
        let chunks = windows.chunks(of: microBatchSize)
        var (sums, done) = ([Double](repeating: 0, count: chunks.count), 0)
        try ranks.together {
            for index in stride(from: ranks.rank, to: chunks.count, by: ranks.count) {
                if let cancellation { ranks.share(cancellation) }
                try batch.fill(chunks[index], from: dataset)
                let loss = try model.evaluateLoss(batch, cancellation: cancellation)
                sums[index] = loss.sum
                done += loss.count
                progress(min(done * ranks.count, tokenCount))
            }
        }
        try ranks.merge(&sums)
        return TokenLoss(sum: sums.reduce(0, +), count: tokenCount)
    }

    /// The loss of each batch of `batchSize` windows; the last may have fewer.
    public func losses(batchSize: Int, progress: (Int) -> Void = { _ in }) throws -> [TokenLoss] {
        var done = 0
        return try windows.chunks(of: batchSize).map { windows in
            var total = TokenLoss()
            for chunk in Array(windows).chunks(of: microBatchSize) {
                try batch.fill(chunk, from: dataset)
                total += try model.evaluateLoss(batch)
                progress(done + total.count)
            }
            done += total.count
            return total
        }
    }

    /// The number that GaLore's evaluation prints for these batches: the mean of their means, however many
    /// tokens each has, divided by one more than there are, since its counter starts at 1. It depends on the
    /// batch size, and is too low by one part in batches + 1 beside.
    public static func galoreLoss(_ batches: [TokenLoss]) -> Double {
        batches.reduce(0) { $0 + $1.mean } / Double(batches.count + 1)
    }

    /// The entropy of the targets' frequencies in nats: the loss of a model that knows how often each
    /// token occurs, and nothing of what stands before it.
    public func unigramEntropy() throws -> Double {
        var counts: [Int32: Int] = [:]
        for chunk in windows.chunks(of: microBatchSize) {
            try batch.fill(chunk, from: dataset)
            for target in batch.targets where target >= 0 { counts[target, default: 0] += 1 }
        }
        // In the order of the ids, so that the rounding is the same each time.
        return entropy(counts.sorted { $0.key < $1.key }.map(\.value))
    }
}
