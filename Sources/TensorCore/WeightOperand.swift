/// Rows of a weight W [out_features, in_features] as the right operand of the two products that a layer
/// takes of its input: y = x W' and, backward, dx = dy W.
///
/// The weight is read once for every tile of tokens, so it pays to bring it once a step into the layout
/// that the products read fastest. In bfloat16 that is oneDNN's own, one for each of the two products; in
/// float32 OpenBLAS packs as it goes, and W itself is the operand.
public final class WeightOperand<Element: ActivationElement>: Sendable {
    private let values: Matrix<Float>
    private let forward: Tensor<Element>
    private let backward: Tensor<Element>
    public let byteCount: Int

    public init(_ values: Matrix<Float>) {
        self.values = values
        let forwardCount = Element.packedCount(rows: values.columns, columns: values.rows)
        let backwardCount = Element.packedCount(rows: values.rows, columns: values.columns)
        forward = Tensor(max(1, forwardCount))
        backward = Tensor(max(1, backwardCount))
        byteCount = (forwardCount + backwardCount) * MemoryLayout<Element>.stride
    }

    /// W': in_features x these rows.
    public var transposed: Operand<Element> { Element.packed(values.transposed, storage: forward.data) }
    /// W: these rows x in_features.
    public var plain: Operand<Element> { Element.packed(values.plain, storage: backward.data) }

    /// Must be called when the weight has changed.
    public func update() {
        Element.pack(values.transposed, storage: forward.data)
        Element.pack(values.plain, storage: backward.data)
    }
}
