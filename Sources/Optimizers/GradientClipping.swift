import TensorCore

/// The norm of all gradients together, and clipping to it, as `torch.nn.utils.clip_grad_norm_`.
public enum GradientClipping {
    /// The elements that a worker takes at a time.
    private static let taskSize = 1 << 18

    /// The fewest rows of so many columns that are whole tasks: what is cut there has the same sums.
    static func rowsOfWholeTasks(columns: Int) -> Int {
        // A task is a power of two.
        taskSize >> min(columns.trailingZeroBitCount, taskSize.trailingZeroBitCount)
    }

    /// The Euclidean norm of all gradients as one vector; the same bits for any number of workers, and of ranks: each
    /// sums up those that `isOwned` names, and `merge` adds what the others have.
    ///
    /// Throws `NumericalError` naming the first parameter whose gradient is not finite.
    public static func globalNorm(
        _ parameters: [Parameter], pool: WorkerPool, isOwned: (Int) -> Bool = { _ in true },
        merge: (inout [Double]) throws -> Void = { _ in }
    ) throws -> Double {
        let tasks = tasks(of: parameters)
        let owned = tasks.indices.filter { isOwned(tasks[$0].parameter) }
        var sums = [Double](repeating: 0, count: tasks.count)
        sums.withUnsafeMutableBufferPointer { sums in
            pool.forEach(owned.count, phase: "norm of gradients") { index, _ in
                let (parameter, range) = tasks[owned[index]]
                sums[owned[index]] = sumOfSquares(
                    parameters[parameter].gradient.data + range.lowerBound, count: range.count)
            }
        }
        try merge(&sums)
        if let task = sums.firstIndex(where: { !$0.isFinite }) {
            throw NumericalError("the gradient is not finite", tensor: parameters[tasks[task].parameter].name)
        }
        return sums.reduce(0, +).squareRoot()
    }

    /// Scales all gradients by `maxNorm / (norm + 1e-6)` where that is below 1.
    public static func clip(_ parameters: [Parameter], norm: Double, maxNorm: Double, pool: WorkerPool) {
        let coefficient = maxNorm / (norm + 1e-6)
        guard coefficient < 1 else { return }
        let factor = Lanes(repeating: Float(coefficient))
        let tasks = tasks(of: parameters)
        pool.forEach(tasks.count, phase: "clipping of gradients") { task, _ in
            let (parameter, range) = tasks[task]
            let gradient = parameters[parameter].gradient.data + range.lowerBound
            forEachLanes(range.count) { offset, count in
                Float.store(Float.load(gradient + offset, count: count) * factor, gradient + offset, count: count)
            }
        }
    }

    private static func tasks(of parameters: [Parameter]) -> [(parameter: Int, range: Range<Int>)] {
        parameters.indices.flatMap { index in
            stride(from: 0, to: parameters[index].count, by: taskSize).map {
                (index, $0..<min($0 + taskSize, parameters[index].count))
            }
        }
    }
}
