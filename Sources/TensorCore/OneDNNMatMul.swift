import COneDNN

/// oneDNN, which multiplies bfloat16 matrices with what the CPU has for them (AMX, AVX-512 BF16), and float32 ones with a
/// packed weight.
public enum BFloat16Library {
    public static var version: String { String(cString: cosmos_dnnl_version()) }

    /// Whether this CPU has instructions for bfloat16 products. Without them oneDNN would emulate, at
    /// less than float32's speed.
    public static var isSupportedByCPU: Bool {
        CPUFeature.all.contains { ["AVX-512 BF16", "AMX BF16"].contains($0.name) && $0.isPresent }
    }

    /// The shapes for which the calling thread keeps what oneDNN made.
    package static var shapeCount: Int { Int(cosmos_dnnl_shape_count()) }
}

extension BFloat16: ActivationElement {
    public static func product(
        _ a: Operand<BFloat16>, _ b: Operand<BFloat16>, into c: Matrix<Float>, accumulating: Bool
    ) {
        product(
            a, b, into: c.base, rows: c.rows, columns: c.columns, stride: c.stride, isRounded: false,
            beta: accumulating ? 1 : 0)
    }

    public static func product(_ a: Operand<BFloat16>, _ b: Operand<BFloat16>, into c: Matrix<BFloat16>) {
        product(a, b, into: c, beta: 0)
    }

    /// c = a b + beta c, summed in float32 and rounded once, on the calling thread.
    public static func product(
        _ a: Operand<BFloat16>, _ b: Operand<BFloat16>, into c: Matrix<BFloat16>, beta: Float
    ) {
        product(a, b, into: c.base, rows: c.rows, columns: c.columns, stride: c.stride, isRounded: true, beta: beta)
    }

    private static func product(
        _ a: Operand<BFloat16>, _ b: Operand<BFloat16>, into c: UnsafeMutableRawPointer, rows: Int, columns: Int,
        stride: Int, isRounded: Bool, beta: Float
    ) {
        multiplyByOneDNN(
            COSMOS_DNNL_BF16, a, b, into: c, rows: rows, columns: columns, stride: stride, isRounded: isRounded,
            beta: beta)
    }

    public static func operand(_ values: Matrix<Float>, storage: Matrix<BFloat16>) -> Matrix<BFloat16> { storage }

    public static func round(_ values: Matrix<Float>, storage: Matrix<BFloat16>) { copy(values, to: storage) }

    public static func operand(_ values: Operand<Float>) -> Operand<BFloat16> {
        preconditionFailure("weights in bfloat16 are always packed")
    }

    public static func packedCount(rows: Int, columns: Int) -> Int {
        Int(cosmos_dnnl_packed_bytes(COSMOS_DNNL_BF16, Int64(rows), Int64(columns))) / MemoryLayout<BFloat16>.stride
    }

    public static func pack(_ values: Operand<Float>, storage: UnsafeMutablePointer<BFloat16>) {
        packByOneDNN(COSMOS_DNNL_BF16, values, storage)
    }
}

extension Float {
    public static func packedCount(rows: Int, columns: Int) -> Int {
        Int(cosmos_dnnl_packed_bytes(COSMOS_DNNL_F32, Int64(rows), Int64(columns))) / MemoryLayout<Float>.stride
    }

    public static func pack(_ values: Operand<Float>, storage: UnsafeMutablePointer<Float>) {
        packByOneDNN(COSMOS_DNNL_F32, values, storage)
    }

    public static func product(_ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>, accumulating: Bool) {
        guard b.isPacked else { return multiply(a, b, into: c, alpha: 1, beta: accumulating ? 1 : 0) }
        multiplyByOneDNN(
            COSMOS_DNNL_F32, a, b, into: c.base, rows: c.rows, columns: c.columns, stride: c.stride, isRounded: false,
            beta: accumulating ? 1 : 0)
    }

    public static func product(_ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>) {
        product(a, b, into: c, accumulating: false)
    }
}

/// c = a b + beta c on the calling thread.
private func multiplyByOneDNN<Element>(
    _ type: cosmos_dnnl_type, _ a: Operand<Element>, _ b: Operand<Element>, into c: UnsafeMutableRawPointer, rows: Int,
    columns: Int, stride: Int, isRounded: Bool, beta: Float
) {
    require(
        a.columns == b.rows && rows == a.rows && columns == b.columns,
        "product of \(a.rows)x\(a.columns) and \(b.rows)x\(b.columns) into \(rows)x\(columns)")
    require(!a.isPacked && (!b.isPacked || stride == columns), "a packed operand beside a matrix with gaps")
    guard rows > 0, columns > 0 else { return }
    let message = cosmos_dnnl_multiply(
        type, Int64(rows), Int64(columns), Int64(a.columns), a.oneDNN, b.oneDNN, c, Int64(stride), isRounded, beta)
    if let message {
        fatalError("oneDNN failed on \(rows)x\(columns)x\(a.columns): \(String(cString: message))")
    }
}

/// Packs `values`, or whole panels of them, into `storage`.
private func packByOneDNN(_ type: cosmos_dnnl_type, _ values: Operand<Float>, _ storage: UnsafeMutableRawPointer) {
    let message = cosmos_dnnl_pack(
        type, Int64(values.rows), Int64(values.columns), values.matrix.base, Int64(values.matrix.stride),
        values.isTransposed, storage)
    if let message {
        fatalError("oneDNN could not pack \(values.rows)x\(values.columns): \(String(cString: message))")
    }
}

extension Operand {
    fileprivate var oneDNN: cosmos_dnnl_operand {
        cosmos_dnnl_operand(
            data: UnsafeRawPointer(matrix.base), stride: Int64(matrix.stride),
            layout: isPacked
                ? COSMOS_DNNL_PACKED : isTransposed ? COSMOS_DNNL_TRANSPOSED : COSMOS_DNNL_PLAIN)
    }
}
