import TensorCore

/// An exponential moving average of the gradients, looking ahead or not:
///
///     M <- mu M + (1 - mu) G
///     U = mu M + (1 - mu) G     (Nesterov)     U = M     (not)
public struct Momentum {
    let average: Tensor<Float>
    let mu: Double
    let isNesterov: Bool

    public init(_ state: StateDeclaration, shape: [Int], mu: Double, isNesterov: Bool) {
        average = state.tensor("momentum", shape)
        (self.mu, self.isNesterov) = (mu, isNesterov)
    }

    /// M with the step's gradient; then U, times `factor`, into `update`, in one pass. Returns the norm of `update`.
    @discardableResult
    public func take(_ context: StepContext, into update: Matrix<Float>, factor: Double = 1) -> Double {
        let (average, gradient) = (average.matrix, context.gradient)
        let (weight, factor) = (Lanes(repeating: Float(1 - mu)), Lanes(repeating: Float(factor)))
        return update.rowTiles.sum(on: context.pool) { rows in
            rows.reduce(0) { sum, row in
                let (m, g, u) = (average.row(row), gradient.row(row), update.row(row))
                forEachLanes(update.columns) { i, count in
                    let (old, g) = (Float.load(m + i, count: count), Float.load(g + i, count: count))
                    let new = (g - old).multiplyAdd(weight, old)
                    Float.store(new, m + i, count: count)
                    let value = isNesterov ? (g - new).multiplyAdd(weight, new) : new
                    Float.store(value * factor, u + i, count: count)
                }
                return sum + sumOfSquares(u, count: update.columns)
            }
        }.squareRoot()
    }
}
