import Console
import LLaMA
import Settings
import TensorCore
import TokenData

/// Computes the gradient of a step's batch into the model's gradients: lane by lane (`training.gradient_lanes`), a
/// lane by micro-batches, each token weighing one over the step's token count.
package final class BatchGradient {
    private let model: LLaMA
    private let data: TokenDataset
    private let microBatchSize: Int
    private let lanes: Int
    private let sum: LaneSum
    private var batch = TokenBatch()
    /// Positions of the last batch: padding is computed, too.
    private(set) var positions = 0
    /// What reading the last batch took.
    private(set) var dataSeconds = 0.0

    package init(_ training: TrainingSettings, model: LLaMA, data: TokenDataset) {
        (self.model, self.data) = (model, data)
        (microBatchSize, lanes) = (training.microBatchSize, training.gradientLanes)
        sum = LaneSum(model.parameters, lanes: lanes, pool: model.pool)
    }

    /// The loss. `progress` is told the number of targets done. Throws `CancellationError`; the gradients are then
    /// good for nothing.
    package func compute(_ windows: [Int], cancellation: CancellationFlag, progress: (Int) -> Void) throws -> TokenLoss
    {
        let tokenWeight = Float(1 / Double(windows.reduce(0) { $0 + data.targetCount($1) }))
        (positions, dataSeconds) = (0, 0)
        var total = TokenLoss()
        for (lane, windows) in windows.chunks(of: windows.count / lanes).enumerated() {
            var loss = TokenLoss()
            model.zeroGradients()
            for chunk in Array(windows).chunks(of: microBatchSize) {
                let started = StatusLine.now()
                try batch.fill(chunk, from: data)
                dataSeconds += StatusLine.now() - started
                loss += try model.accumulateGradients(batch, tokenWeight: tokenWeight, cancellation: cancellation)
                positions += batch.tokens.count
                progress(total.count + loss.count)
            }
            sum.add(lane: lane)
            total += loss
        }
        return total
    }
}
