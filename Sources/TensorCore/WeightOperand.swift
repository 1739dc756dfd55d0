/// Rows of a weight W [out_features, in_features] as the right operand of the two products that a layer
/// takes of its input: y = x W' and, backward, dx = dy W.
///
/// The weight is read once for every tile of tokens, so it pays to bring it into the layout that the products read
/// fastest, oneDNN's own, one for each of the two. Where oneDNN has none for float32, OpenBLAS packs as it goes, and W
/// itself is the operand.
public final class WeightOperand<Element: ActivationElement>: Sendable {
    /// Where the packed weight lies.
    public enum Memory {
        /// In the scratch memory of each task that reads it.
        case scratch
        /// In memory of its own, for both products.
        case own
        /// Where another weight of this shape does, if there is one. Only one of them is packed at a time, for one of the
        /// two products.
        case shared(WeightOperand?)
    }

    /// Which of the two products.
    public enum Direction: Sendable { case forward, backward }

    /// Some panels to be packed.
    public struct PackingTask {
        fileprivate let values: Operand<Float>
        fileprivate let storage: UnsafeMutablePointer<Element>

        public func run() { Element.pack(values, storage: storage) }
    }

    private let values: Matrix<Float>
    private let forward: Tensor<Element>?
    private let backward: Tensor<Element>?
    /// The bytes beside W itself and what it shares.
    public let byteCount: Int

    public init(_ values: Matrix<Float>, memory: Memory = .own) {
        self.values = values
        let forwardCount = Element.packedCount(rows: values.columns, columns: values.rows)
        let backwardCount = Element.packedCount(rows: values.rows, columns: values.columns)
        let count: Int
        switch memory {
        case _ where forwardCount == 0, .scratch: (count, forward, backward) = (0, nil, nil)
        case .own:
            count = forwardCount + backwardCount
            (forward, backward) = (Tensor(forwardCount), Tensor(backwardCount))
        case .shared(let other?): (count, forward, backward) = (0, other.forward, other.backward)
        case .shared(nil):
            count = max(forwardCount, backwardCount)
            let tensor = Tensor<Element>(count)
            (forward, backward) = (tensor, tensor)
        }
        byteCount = count * MemoryLayout<Element>.stride
    }

    /// W': in_features x these rows.
    public var transposed: Operand<Element> { operand(.forward, forward?.data) }
    /// W: these rows x in_features.
    public var plain: Operand<Element> { operand(.backward, backward?.data) }

    private func values(_ direction: Direction) -> Operand<Float> {
        direction == .forward ? values.transposed : values.plain
    }

    private func operand(_ direction: Direction, _ packed: UnsafeMutablePointer<Element>?) -> Operand<Element> {
        let values = values(direction)
        guard let packed else { return Element.operand(values) }
        let shape = Matrix(packed, rows: values.rows, columns: values.columns, stride: values.columns)
        return Operand(shape, isTransposed: false, isPacked: true)
    }

    /// The operand of one product, packed in `arena` where it has no other memory for that.
    public func operand(_ direction: Direction, _ arena: Arena) -> Operand<Element> {
        guard let storage = scratch(direction, arena) else { return direction == .forward ? transposed : plain }
        Element.pack(values(direction), storage: storage)
        return operand(direction, storage)
    }

    /// What that takes of the arena.
    @discardableResult
    public func scratch(_ direction: Direction, _ arena: Arena) -> UnsafeMutablePointer<Element>? {
        guard forward == nil, Element.packsWeights else { return nil }
        let values = values(direction)
        return arena.array(Element.packedCount(rows: values.rows, columns: values.columns), of: Element.self)
    }

    /// What must be done when the weight has changed, or the memory held another, in any order.
    public func packing(_ direction: Direction) -> [PackingTask] {
        guard let packed = direction == .forward ? forward : backward else { return [] }
        let values = values(direction)
        let panelRows = Element.packedCount(rows: values.rows, columns: packedPanel) / packedPanel
        return ranges(of: values.columns, size: 2 * packedPanel).map {
            PackingTask(values: values.columns($0), storage: packed.data + panelRows * $0.lowerBound)
        }
    }

    /// Packs it for both products, in memory of its own.
    public func update() {
        for task in packing(.forward) + packing(.backward) { task.run() }
    }
}
