import TensorCore

/// A piece of work that is timed alone, by name, in buffers of its own.
struct MeasuredTask {
    /// What it must do, whatever the way: time and machine limit are judged by it.
    enum Cost: Sendable {
        /// Bytes read and written where nothing is in a cache.
        case bytes(Int)
        /// FLOPs of float32.
        case fp32(Int)
        /// FLOPs of products of bfloat16.
        case bf16(Int)
    }

    /// The task in its buffers.
    struct Work {
        /// Brings back what `run` has spent; not timed.
        let reset: () -> Void
        let run: () throws -> Void

        init(reset: @escaping () -> Void = {}, run: @escaping () throws -> Void) {
            self.reset = reset
            self.run = run
        }
    }

    let name: String
    /// nil: only the time counts.
    let cost: Cost?
    /// Allocates and fills the buffers.
    let prepare: (WorkerPool) throws -> Work

    init(_ name: String, _ cost: Cost?, prepare: @escaping (WorkerPool) throws -> Work) {
        self.name = name
        self.cost = cost
        self.prepare = prepare
    }
}

/// Random numbers of about that size, for measuring: some are drawn, the others repeat them.
func noise<Element: TensorElement>(_ shape: Int..., scale: Float = 1, of _: Element.Type = Float.self)
    -> Tensor<Element>
{
    let tensor = Tensor<Element>(shape)
    var random = Random(seed: 1, stream: "noise")
    // A prime, so that no two rows are alike.
    let period = min(tensor.count, 65_521)
    for index in 0..<period { tensor.data[index] = Element(scale * Float(random.normalPair().0)) }
    for index in period..<max(period, tensor.count) { tensor.data[index] = tensor.data[index - period] }
    return tensor
}
