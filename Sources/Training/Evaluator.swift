import Foundation
import LLaMA
import TensorCore
import TokenData

/// The loss of a model over a fixed set of tokens: the exact mean, each token weighing the same.
public final class Evaluator {
    /// The windows that are evaluated, spread evenly over the data set, so that a part of it stands
    /// for the whole whatever its order.
    private let chunks: [ArraySlice<Int>]
    private let model: LLaMA
    private let dataset: TokenDataset
    private var batch = TokenBatch()
    /// Targets that each evaluation predicts.
    public let tokenCount: Int

    /// Evaluates at least `tokens` targets in whole windows, or all there are (nil: all). The model
    /// must be made for `sequencesAtOnce` sequences of the data set's length.
    public init(model: LLaMA, dataset: TokenDataset, tokens: Int?, sequencesAtOnce: Int) {
        self.model = model
        self.dataset = dataset
        let wanted = tokens.map { ($0 + dataset.sequenceLength - 1) / dataset.sequenceLength } ?? .max
        let count = min(wanted, dataset.windowCount)
        chunks = (0..<count).map { index in
            index * dataset.windowCount / count
        }.chunks(of: sequencesAtOnce)
        tokenCount = count * dataset.sequenceLength
    }

    /// Evaluates. `progress` is told the number of targets done. Throws `CancellationError`.
    public func loss(cancellation: CancellationFlag? = nil, progress: (Int) -> Void = { _ in }) throws -> TokenLoss {
        var total = TokenLoss()
        for chunk in chunks {
            batch.fill(chunk, from: dataset)
            total += try model.evaluateLoss(
                tokens: batch.tokens, targets: batch.targets, sequences: batch.sequences, cancellation: cancellation)
            progress(total.count)
        }
        return total
    }

    /// The entropy of the targets' frequencies in nats: the loss of a model that knows how often each
    /// token occurs, and nothing of what stands before it.
    public func unigramEntropy() -> Double {
        var counts: [Int32: Int] = [:]
        for chunk in chunks {
            batch.fill(chunk, from: dataset)
            for target in batch.targets { counts[target, default: 0] += 1 }
        }
        let total = Double(tokenCount)
        // In the order of the ids, so that the rounding is the same each time.
        return counts.sorted { $0.key < $1.key }.reduce(0) { sum, entry in
            let share = Double(entry.value) / total
            return sum - share * log(share)
        }
    }
}
