import Glibc
import TensorCore

/// The arithmetic that all of Adam's relatives share: both moments and the normalized direction, in
/// one pass over memory.
///
///     m <- m + (1 - beta1)(G - m)         v <- beta2 v + (1 - beta2) G²
///     direction = m / ( sqrt(v) / correction + eps )
struct AdamStep {
    /// 1 - beta1, beta2 and 1 - beta2.
    private let meanWeight: Lanes
    private let squareDecay: Lanes
    private let squareWeight: Lanes
    /// 1 / correction: a division less an element, for a rounding more.
    private let inverseCorrection: Lanes
    private let eps: Lanes
    /// The scalar that the direction is multiplied by.
    let stepSize: Float
    private let decayBefore: Lanes
    private let decayAfter: Lanes

    /// PyTorch's order: decay first; eps after the bias correction.
    init(betas: [Double], eps: Double, step: Int, learningRate: Double, weightDecay: Double) {
        self.init(
            betas: betas, eps: eps, correction: (1 - pow(betas[1], Double(step))).squareRoot(),
            stepSize: learningRate / (1 - pow(betas[0], Double(step))),
            decayBefore: 1 - learningRate * weightDecay, decayAfter: 1)
    }

    /// The order of Hugging Face's former AdamW, which GaLore and SOAP keep: eps before the bias
    /// correction, which is in the step size, and decay last. `correctBias` false leaves it out.
    init(
        epsFirst eps: Double, betas: [Double], step: Int, learningRate: Double, weightDecay: Double,
        correctBias: Bool = true
    ) {
        let bias = (1 - pow(betas[1], Double(step))).squareRoot() / (1 - pow(betas[0], Double(step)))
        self.init(
            betas: betas, eps: eps, correction: 1, stepSize: learningRate * (correctBias ? bias : 1),
            decayBefore: 1, decayAfter: 1 - learningRate * weightDecay)
    }

    private init(
        betas: [Double], eps: Double, correction: Double, stepSize: Double, decayBefore: Double, decayAfter: Double
    ) {
        meanWeight = Lanes(repeating: Float(1 - betas[0]))
        squareDecay = Lanes(repeating: Float(betas[1]))
        squareWeight = Lanes(repeating: Float(1 - betas[1]))
        inverseCorrection = Lanes(repeating: Float(1 / correction))
        self.eps = Lanes(repeating: Float(eps))
        self.stepSize = Float(stepSize)
        self.decayBefore = Lanes(repeating: Float(decayBefore))
        self.decayAfter = Lanes(repeating: Float(decayAfter))
    }

    @inline(__always)
    private func direction(_ g: Lanes, m: inout Lanes, v: inout Lanes) -> Lanes {
        m = (g - m).multiplyAdd(meanWeight, m)
        v = (g * squareWeight).multiplyAdd(g, v * squareDecay)
        return m / v.squareRoots.multiplyAdd(inverseCorrection, eps)
    }

    /// w <- (w decay - step size * direction) decay, over `count` elements; moments as they go.
    ///
    /// Throws `NumericalFailure` if a new weight is not finite.
    func update(
        _ w: UnsafeMutablePointer<Float>, _ g: UnsafePointer<Float>, m: UnsafeMutablePointer<Float>,
        v: UnsafeMutablePointer<Float>, count: Int
    ) throws {
        let stepSize = Lanes(repeating: stepSize)
        var difference = Lanes.zero
        forEachLanes(count) { i, count in
            var newM = Float.load(m + i, count: count)
            var newV = Float.load(v + i, count: count)
            let direction = direction(Float.load(g + i, count: count), m: &newM, v: &newV)
            let kept = Float.load(w + i, count: count) * decayBefore
            let newW = (kept - stepSize * direction) * decayAfter
            Float.store(newM, m + i, count: count)
            Float.store(newV, v + i, count: count)
            Float.store(newW, w + i, count: count)
            // 0 for every finite number: finding trouble costs no pass of its own.
            difference += newW - newW
        }
        guard difference.laneSum == 0 else { throw NumericalFailure("the updated weight is not finite") }
    }

    /// g <- direction, over `count` elements; moments as they go. The caller applies step size and decay.
    func normalize(
        _ g: UnsafeMutablePointer<Float>, m: UnsafeMutablePointer<Float>, v: UnsafeMutablePointer<Float>, count: Int
    ) {
        forEachLanes(count) { i, count in
            var newM = Float.load(m + i, count: count)
            var newV = Float.load(v + i, count: count)
            let direction = direction(Float.load(g + i, count: count), m: &newM, v: &newV)
            Float.store(newM, m + i, count: count)
            Float.store(newV, v + i, count: count)
            Float.store(direction, g + i, count: count)
        }
    }
}
