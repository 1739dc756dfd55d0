/// One reusable piece of scratch memory for each worker, from which a block of work cuts the
/// matrices it needs for as long as it runs. Sized once, so that a step allocates nothing.
public final class Workspace: Sendable {
    private let memory: [Tensor<Float>]

    /// `capacity` float32 elements for each of `workers` workers.
    public init(workers: Int, capacity: Int) {
        memory = (0..<workers).map { _ in Tensor([max(capacity, laneCount)]) }
    }

    /// The scratch memory of one worker, all of it free.
    public func scratch(of worker: Int) -> Scratch { Scratch(memory[worker]) }

    /// The bytes reserved.
    public var byteCount: Int { memory.reduce(0) { $0 + $1.byteCount } }

    /// What one matrix takes of the capacity: its elements, rounded up to a cache line.
    public static func size(_ rows: Int, _ columns: Int) -> Int { (rows * columns + 15) & ~15 }
}

/// A worker's scratch memory during one block of work. Contents are whatever was left there.
public struct Scratch {
    private let memory: Tensor<Float>
    private var used = 0

    init(_ memory: Tensor<Float>) { self.memory = memory }

    /// The next free `rows` x `columns` matrix, cache-line aligned. Any element type takes a float32's
    /// room.
    public mutating func matrix<Element: TensorElement>(
        _ rows: Int, _ columns: Int, of type: Element.Type = Float.self
    ) -> Matrix<Element> {
        let start = used
        used += Workspace.size(rows, columns)
        precondition(used <= memory.count, "scratch of \(memory.count) elements is short by \(used - memory.count)")
        let base = UnsafeMutableRawPointer(memory.data + start).assumingMemoryBound(to: Element.self)
        return Matrix(base, rows: rows, columns: columns, stride: columns)
    }
}
