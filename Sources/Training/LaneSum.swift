import TensorCore

/// Adds up the gradients of lanes as a binary tree, neighbours first:
///
///     ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7))
///
/// A lane is computed into the parameters' own gradients. A sum that waits for its neighbour is kept aside, at most
/// one of each size: log2(lanes) copies of the gradient. Ranks that have neighbouring lanes compute subtrees of this.
final class LaneSum {
    private let parameters: [Parameter]
    private let pool: WorkerPool
    private let lanes: Int
    /// At place k a sum of 2^k lanes, by parameter.
    private let waiting: [[Tensor<Float>]]

    /// `lanes` is a power of two.
    init(_ parameters: [Parameter], lanes: Int, pool: WorkerPool) {
        (self.parameters, self.lanes, self.pool) = (parameters, lanes, pool)
        waiting = (0..<lanes.trailingZeroBitCount).map { _ in parameters.map { Tensor($0.shape) } }
    }

    /// Takes the gradients of the next lane; after the last one the gradients are the sum of all.
    func add(lane: Int) {
        // A sum of 2^k lanes waits where bit k of the number is set.
        var size = 0
        while lane >> size & 1 == 1 {
            for (parameter, sum) in zip(parameters, waiting[size]) {
                parameter.gradient.matrix.combine(with: sum.matrix, on: pool) { $1 + $0 }
            }
            size += 1
        }
        if lane + 1 == lanes { return }
        for (parameter, sum) in zip(parameters, waiting[size]) {
            sum.matrix.copy(from: parameter.gradient.matrix, on: pool)
        }
    }
}
