import Glibc
import TensorCore

/// What all of Adam's relatives share: both moments, and the normalized direction.
///
///     m <- m + (1 - beta1)(G - m)         v <- beta2 v + (1 - beta2) G²
///     direction = m / ( sqrt(v) / sqrt(1 - beta2^t) + eps ),    step size = lr / (1 - beta1^t)
///
/// With `epsFirst`, the order of Hugging Face's former AdamW, which GaLore and SOAP keep, eps stands before the
/// bias correction, which is all in the step size: lr sqrt(1 - beta2^t) / (1 - beta1^t).
///
/// Every scalar is computed in double precision and rounded once.
struct Adam {
    let m: Tensor<Float>
    let v: Tensor<Float>
    private let betas: [Double]
    private let eps: Double
    private let epsFirst: Bool

    init(_ state: StateDeclaration, shape: [Int], betas: [Double], eps: Double, epsFirst: Bool = false) {
        (m, v) = (state.tensor("exp_avg", shape), state.tensor("exp_avg_sq", shape))
        (self.betas, self.eps, self.epsFirst) = (betas, eps, epsFirst)
    }

    /// g <- direction, for a matrix of the moments' shape. Returns the step size that it is to be scaled by.
    func normalize(
        _ g: Matrix<Float>, step: Int, learningRate: Double, correctBias: Bool = true, on pool: WorkerPool
    ) -> Float {
        let scalars = scalars(step: step, learningRate: learningRate, correctBias: correctBias)
        g.combine(with: m.matrix, v.matrix, on: pool) { g, m, v in scalars.direction(g, &m, &v) }
        return scalars.stepSize
    }

    private func scalars(step: Int, learningRate: Double, correctBias: Bool = true) -> Scalars {
        let (first, second) = (1 - pow(betas[0], Double(step)), (1 - pow(betas[1], Double(step))).squareRoot())
        return Scalars(
            meanWeight: Lanes(repeating: Float(1 - betas[0])), squareDecay: Lanes(repeating: Float(betas[1])),
            squareWeight: Lanes(repeating: Float(1 - betas[1])),
            inverseCorrection: Lanes(repeating: Float(epsFirst ? 1 : 1 / second)), eps: Lanes(repeating: Float(eps)),
            stepSize: Float(epsFirst ? learningRate * (correctBias ? second / first : 1) : learningRate / first))
    }

    private struct Scalars {
        let meanWeight, squareDecay, squareWeight: Lanes
        /// The factor of sqrt(v): a multiplication in place of a division, for one rounding more.
        let inverseCorrection: Lanes
        let eps: Lanes
        let stepSize: Float

        @inline(__always)
        func direction(_ g: Lanes, _ m: inout Lanes, _ v: inout Lanes) -> Lanes {
            m = (g - m).multiplyAdd(meanWeight, m)
            v = (g * squareWeight).multiplyAdd(g, v * squareDecay)
            return m / v.squareRoots.multiplyAdd(inverseCorrection, eps)
        }
    }
}

/// As a rule of its own: AdamW, and what GaLore does not project.
extension Adam: ElementwiseRule {
    func step(_ elements: Elements, _ context: StepContext) throws {
        let scalars = scalars(step: context.step, learningRate: context.learningRate)
        try elements.update(m, v) { g, _, m, v in scalars.stepSize * scalars.direction(g, &m, &v) }
    }
}
