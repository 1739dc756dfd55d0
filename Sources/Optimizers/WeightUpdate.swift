import TensorCore

/// The last act of a matrix rule: w <- decay w - scale update, elementwise over equal shapes.
///
/// Throws `NumericalFailure` if a new weight is not finite.
func applyUpdate(_ update: Matrix<Float>, to weight: Matrix<Float>, scale: Double, decay: Double) throws {
    let (scale, decay) = (Lanes(repeating: Float(scale)), Lanes(repeating: Float(decay)))
    var difference = Lanes.zero
    weight.combine(with: update) { weight, update in
        let new = weight * decay - update * scale
        // 0 for every finite number.
        difference += new - new
        return new
    }
    guard difference.laneSum == 0 else { throw NumericalFailure("the updated weight is not finite") }
}

extension Matrix where Element == Float {
    /// self <- self + weight (other - self): an exponential moving average.
    func average(with other: Matrix<Float>, weight: Double) {
        let weight = Lanes(repeating: Float(weight))
        combine(with: other) { old, new in (new - old).multiplyAdd(weight, old) }
    }
}
