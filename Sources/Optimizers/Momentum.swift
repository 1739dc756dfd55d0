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

    /// M with the step's gradient; then U into `update`.
    public func take(_ context: StepContext, into update: Matrix<Float>) {
        let (gradient, pool) = (context.gradient, context.pool)
        average.matrix.average(with: gradient, weight: 1 - mu, on: pool)
        update.copy(from: average.matrix, on: pool)
        if isNesterov { update.average(with: gradient, weight: 1 - mu, on: pool) }
    }
}
