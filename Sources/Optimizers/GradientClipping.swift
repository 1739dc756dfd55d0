import TensorCore

/// The Euclidean norm of all gradients as one vector, measured at once or part by part; the same bits either way, for any
/// number of workers, and of ranks.
public struct GradientNorm {
    private let tasks: [(parameter: Parameter, range: Range<Int>)]
    private var sums: [Double]

    /// `parameters`: all of them.
    public init(_ parameters: [Parameter]) {
        tasks = GradientClipping.tasks(of: parameters)
        sums = Array(repeating: 0, count: tasks.count)
    }

    /// Measures the gradients of some. `merge` adds what other ranks have measured.
    ///
    /// Throws `NumericalError` naming the first parameter whose gradient is not finite.
    public mutating func measure(
        _ parameters: [Parameter], pool: WorkerPool, merge: (inout [Double]) throws -> Void = { _ in }
    ) throws {
        let (tasks, measured) = (tasks, Set(parameters.map(ObjectIdentifier.init)))
        let owned = tasks.indices.filter { measured.contains(ObjectIdentifier(tasks[$0].parameter)) }
        sums.withUnsafeMutableBufferPointer { sums in
            pool.forEach(owned.count, phase: "norm of gradients") { index, _ in
                let (parameter, range) = tasks[owned[index]]
                sums[owned[index]] = sumOfSquares(
                    parameter.gradient.data + range.lowerBound, count: range.count)
            }
        }
        try merge(&sums)
        if let task = sums.firstIndex(where: { !$0.isFinite }) {
            throw NumericalError("the gradient is not finite", tensor: tasks[task].parameter.name)
        }
    }

    /// Of all that was measured.
    public var value: Double { sums.reduce(0, +).squareRoot() }
}

/// The norm of all gradients together, and clipping to it, as `torch.nn.utils.clip_grad_norm_`.
public enum GradientClipping {
    /// The elements that a worker takes at a time.
    private static let taskSize = 1 << 18

    /// The fewest rows of so many columns that are whole tasks: what is cut there has the same sums.
    static func rowsOfWholeTasks(columns: Int) -> Int {
        // A task is a power of two.
        taskSize >> min(columns.trailingZeroBitCount, taskSize.trailingZeroBitCount)
    }

    /// Throws `NumericalError` naming the first parameter whose gradient is not finite.
    public static func globalNorm(_ parameters: [Parameter], pool: WorkerPool) throws -> Double {
        var norm = GradientNorm(parameters)
        try norm.measure(parameters, pool: pool)
        return norm.value
    }

    /// Scales all gradients by `maxNorm / (norm + 1e-6)` where that is below 1.
    public static func clip(_ parameters: [Parameter], norm: Double, maxNorm: Double, pool: WorkerPool) {
        let coefficient = maxNorm / (norm + 1e-6)
        guard coefficient < 1 else { return }
        let factor = Lanes(repeating: Float(coefficient))
        let tasks = tasks(of: parameters)
        pool.forEach(tasks.count, phase: "clipping of gradients") { task, _ in
            let (parameter, range) = tasks[task]
            let gradient = parameter.gradient.data + range.lowerBound
            forEachLanes(range.count) { offset, count in
                Float.store(Float.load(gradient + offset, count: count) * factor, gradient + offset, count: count)
            }
        }
    }

    fileprivate static func tasks(of parameters: [Parameter]) -> [(parameter: Parameter, range: Range<Int>)] {
        parameters.flatMap { parameter in
            ranges(of: parameter.count, size: taskSize).map { (parameter, $0) }
        }
    }
}
