import Optimizers
import TensorCore

/// An optimizer's steps on random gradients beside the same steps by a reference in double precision.
public struct Replay {
    /// The largest difference of a weight, over all steps.
    public private(set) var difference = 0.0
    /// What rounding explains. The reference is run twice more, on gradients whose last bits are changed: how far
    /// that carries it away is how much its equations magnify a rounding. The optimizer rounds a few times where
    /// that rounded once; and its weights are float32.
    public private(set) var tolerance = 0.0

    /// A step of the reference: changes W, with what it remembers in variables of its own.
    public typealias Step = (_ w: inout DenseMatrix, _ g: DenseMatrix, _ learningRate: Double, _ step: Int) -> Void

    private static let rounding = 0x1p-24

    /// `reference` makes one at its beginning, and is called once for each run.
    public init(
        of settings: any OptimizerSettings, shape: [Int], role: ParameterRole = .matrix(.gate), steps: Int = 12,
        reference: () -> Step
    ) throws {
        let parameter = Parameter(name: "weight", shape: shape, role: role)
        var random = Random(seed: 3, stream: "replay")
        func fill(_ tensor: Tensor<Float>) {
            for index in 0..<tensor.count { tensor.data[index] = Float(random.normalPair().0) }
        }
        fill(parameter.weight)
        let optimizer = Optimizer(
            OptimizerConfiguration(settings), parameters: [parameter], pool: WorkerPool(threads: testWorkers),
            taskSize: 16)
        var noise = Random(seed: 4, stream: "replay")
        let start = DenseMatrix(parameter.weight.matrix)
        var runs = (0..<3).map { _ in (w: start, step: reference()) }
        for step in 1...steps {
            fill(parameter.gradient)
            let factor = 1 / Double(step)
            try optimizer.step(learningRateFactor: factor)
            for index in runs.indices {
                let changed = index == 0 ? 0 : Self.rounding
                let g = DenseMatrix(parameter.gradient.matrix).map { $0 * (1 + changed * noise.normalPair().0) }
                runs[index].step(&runs[index].w, g, settings.lr * factor, step)
            }
            difference = max(difference, runs[0].w.largestDifference(from: DenseMatrix(parameter.weight.matrix)))
            let magnified = runs[1...].map { $0.w.largestDifference(from: runs[0].w) }.max() ?? 0
            let largest = runs[0].w.values.map(abs).max() ?? 0
            tolerance = max(tolerance, 16 * magnified + 2 * Double(step) * Self.rounding * largest)
        }
    }
}
