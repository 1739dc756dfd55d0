import TensorCore

/// A step of one parameter: what a rule is told, and how it changes the weight.
public struct StepContext {
    /// The number of this step, from 1. The same for every parameter.
    public let step: Int
    /// The rule's learning rate with the schedule applied.
    public let learningRate: Double
    /// Whether a basis is made anew in this step (`Renewal`); always so at step 1.
    public let isRenewal: Bool
    /// The workers: idle ones share the products and passes of a matrix.
    public let pool: WorkerPool
    let parameter: Parameter
    let weight: Tensor<Float>
    /// Factors of the weight, before and after the update is subtracted; one of them is 1.
    @usableFromInline let decayBefore: Double
    @usableFromInline let decayAfter: Double

    init(_ slot: Optimizer.Slot, step: Int, learningRateFactor: Double, pool: WorkerPool) {
        (self.step, self.pool, parameter, isRenewal) = (step, pool, slot.parameter, slot.isRenewal(at: step))
        weight = parameter.weight
        learningRate = slot.learningRate * learningRateFactor
        let decay = 1 - learningRate * slot.settings.weightDecay(of: parameter.role)
        (decayBefore, decayAfter) = type(of: slot.settings).decayFollowsUpdate ? (1, decay) : (decay, 1)
    }

    /// Read, never written.
    public var gradient: Matrix<Float> { parameter.gradient.matrix }
    public var rows: Int { gradient.rows }
    public var columns: Int { gradient.columns }

    /// The last act of a matrix rule: W <- W - scale update, and the decoupled decay, before or after.
    ///
    /// Throws `NumericalFailure` if a new weight is not finite.
    public func apply(_ update: Matrix<Float>, scale: Double) throws {
        let decay = Lanes(repeating: Float(decayBefore * decayAfter))
        // A decay that follows the update shrinks it, too.
        let scale = Lanes(repeating: Float(scale * decayAfter))
        let weight = weight.matrix
        let difference = weight.rowTiles.sum(on: pool) { rows in
            var difference = Lanes.zero
            weight.rows(rows).combine(with: update.rows(rows)) { weight, update in
                let new = weight * decay - update * scale
                // 0 for every finite number.
                difference += new - new
                return new
            }
            return Double(difference.laneSum)
        }
        guard difference == 0 else { throw NumericalFailure("the updated weight is not finite") }
    }

    /// The same for an update that is a product and never stored: W <- W - scale a b, and the decay after it.
    func apply(productOf a: Operand<Float>, _ b: Operand<Float>, scale: Float) {
        require(decayBefore == 1, "a decay before a product")
        let weight = weight.matrix
        multiply(a, b, into: weight, alpha: -scale, beta: 1, on: pool)
        guard decayAfter != 1 else { return }
        let decay = Lanes(repeating: Float(decayAfter))
        weight.apply(on: pool) { $0 * decay }
    }
}
