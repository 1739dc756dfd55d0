/// The type that activations and the operands of matrix products have in training: float32, or
/// bfloat16 for speed. Products accumulate in float32 either way, and weights, gradients, statistics
/// and the sum that is the residual stream stay float32; what norms read and the backward pass keeps of the
/// stream is of this type.
///
/// Where float32 is the type itself, the float32 tensor is the operand and nothing is converted.
public protocol ActivationElement: TensorElement {
    /// c = a b, or c += a b, in float32. Use `multiply(_:_:into:beta:)`.
    static func product(_ a: Operand<Self>, _ b: Operand<Self>, into c: Matrix<Float>, accumulating: Bool)
    /// c = a b, rounded once. Use `multiply(_:_:into:)`.
    static func product(_ a: Operand<Self>, _ b: Operand<Self>, into c: Matrix<Self>)
    /// `values` as operands of products: what `round` left in `storage`, or, in float32, `values` themselves.
    static func operand(_ values: Matrix<Float>, storage: Matrix<Self>) -> Matrix<Self>
    /// Rounds `values` into `storage`; nothing to do in float32.
    static func round(_ values: Matrix<Float>, storage: Matrix<Self>)
    /// `values` as a right operand that is not packed.
    static func operand(_ values: Operand<Float>) -> Operand<Self>
}

/// A float32 matrix and a copy of it as operands of products. Where operands are float32 it is its own.
public struct OperandMatrix<Element: ActivationElement> {
    public let values: Matrix<Float>
    /// What products read.
    public let operand: Matrix<Element>

    public init(_ values: Matrix<Float>, _ arena: Arena) {
        self.values = values
        operand = values as? Matrix<Element> ?? arena.matrix(values.rows, values.columns, of: Element.self)
    }

    /// Brings `operand` up to date with some rows of `values`.
    public func round(rows: Range<Int>) { Element.round(values.rows(rows), storage: operand.rows(rows)) }
}

/// c = a b, or with `accumulating` c += a b, in float32, on the calling thread. Cost: 2mnk FLOPs.
@inlinable @inline(__always)
public func multiply<Element: ActivationElement>(
    _ a: Operand<Element>, _ b: Operand<Element>, into c: Matrix<Float>, accumulating: Bool
) {
    Element.product(a, b, into: c, accumulating: accumulating)
}

/// c = a b, accumulated in float32 and rounded once, on the calling thread. Cost: 2mnk FLOPs.
@inlinable @inline(__always)
public func multiply<Element: ActivationElement>(
    _ a: Operand<Element>, _ b: Operand<Element>, into c: Matrix<Element>
) {
    Element.product(a, b, into: c)
}

extension ActivationElement {
    /// Whether a weight is packed, so that few rows of a product with it cost no more than many.
    public static var packsWeights: Bool { packedCount(rows: packedPanel, columns: packedPanel) > 0 }
}

/// The columns of a panel of a packed operand.
@usableFromInline let packedPanel = 64

extension Float: ActivationElement {
    @inlinable
    public static func operand(_ values: Matrix<Float>, storage: Matrix<Float>) -> Matrix<Float> { values }

    @inlinable
    public static func round(_ values: Matrix<Float>, storage: Matrix<Float>) {}

    public static func operand(_ values: Operand<Float>) -> Operand<Float> { values }
}

/// Copies rows of equal length, rounding where the target holds less.
@inlinable
public func copy<Element: TensorElement>(_ source: Matrix<Float>, to target: Matrix<Element>) {
    require(
        source.rows == target.rows && source.columns == target.columns,
        "copy of \(source.rows)x\(source.columns) to \(target.rows)x\(target.columns)")
    for i in 0..<source.rows {
        let (input, output) = (source.row(i), target.row(i))
        forEachLanes(source.columns) { j, count in
            Element.store(Float.load(input + j, count: count), output + j, count: count)
        }
    }
}
