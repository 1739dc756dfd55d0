import Console
import LLaMA
import Ranks
import Settings
import TensorCore
import TokenData

/// Computes the gradient of a step's batch into the model's gradients: lane by lane (`training.gradient_lanes`), a
/// lane by micro-batches, each token weighing one over the step's token count. Each of several ranks has neighbouring
/// lanes, whose sum its gradients are then.
package final class BatchGradient {
    private let model: LLaMA
    private let data: TokenDataset
    private let ranks: Ranks
    private let microBatchSize: Int
    /// Of all ranks, and of this one.
    private let allLanes: Int
    private let lanes: Range<Int>
    private let sum: LaneSum
    private var batch = TokenBatch()
    /// What reading the last batch took.
    private(set) var dataSeconds = 0.0

    package init(_ training: TrainingSettings, model: LLaMA, data: TokenDataset, ranks: Ranks = Ranks()) {
        (self.model, self.data, self.ranks) = (model, data, ranks)
        (microBatchSize, allLanes) = (training.microBatchSize, training.gradientLanes)
        let count = allLanes / ranks.count
        lanes = ranks.rank * count..<(ranks.rank + 1) * count
        sum = LaneSum(model.parameters, lanes: count, pool: model.pool)
    }

    /// The loss of the whole batch. `progress` is told the number of targets done. Throws `CancellationError`; the
    /// gradients are then good for nothing. `spend`: see `LLaMA.accumulateGradients`; the batch is then one micro-batch.
    package func compute(
        _ windows: [Int], cancellation: CancellationFlag, spend: SpendGradients? = nil, progress: (Int) -> Void
    ) throws -> TokenLoss {
        let targets = windows.reduce(0) { $0 + data.targetCount($1) }
        let chunks = windows.chunks(of: windows.count / allLanes)
        dataSeconds = 0
        var losses = [Double](repeating: 0, count: allLanes)
        var done = 0
        try ranks.together {
            for (index, lane) in lanes.enumerated() {
                var loss = TokenLoss()
                model.zeroGradients()
                for chunk in Array(chunks[lane]).chunks(of: microBatchSize) {
                    ranks.share(cancellation)
                    let started = StatusLine.now()
                    try batch.fill(chunk, from: data)
                    dataSeconds += StatusLine.now() - started
                    loss += try model.accumulateGradients(
                        batch, tokenWeight: Float(1 / Double(targets)), cancellation: cancellation, spend: spend)
                    progress(min(targets, (done + loss.count) * ranks.count))
                }
                sum.add(lane: index)
                losses[lane] = loss.sum
                done += loss.count
            }
            if spend == nil, cancellation.isRequested { throw CancellationError() }
        }
        try ranks.merge(&losses)
        return TokenLoss(sum: losses.reduce(0, +), count: targets)
    }
}
