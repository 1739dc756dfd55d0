import COneDNN

/// oneDNN, which multiplies bfloat16 matrices with what the CPU has for them (AMX, AVX-512 BF16), and float32 ones with a
/// packed weight.
public enum BFloat16Library {
    public static var version: String { String(cString: cosmos_dnnl_version()) }

    /// Whether this CPU has instructions for bfloat16 products, and oneDNN may use them. Without them it would emulate, at
    /// less than float32's speed, or fail.
    public static var isSupportedByCPU: Bool { cosmos_dnnl_has_bf16() }

    /// The shapes for which the calling thread keeps what oneDNN made.
    package static var shapeCount: Int { Int(cosmos_dnnl_shape_count()) }
}

extension ActivationElement {
    /// The elements of a right operand of this shape when it is packed; 0 where packing is no use.
    public static func packedCount(rows: Int, columns: Int) -> Int {
        Int(cosmos_dnnl_packed_bytes(oneDNNType, Int64(rows), Int64(columns))) / MemoryLayout<Self>.stride
    }

    /// Packs `values`, or whole panels of 64 columns of them, into `storage`.
    public static func pack(_ values: Operand<Float>, storage: UnsafeMutablePointer<Self>) {
        let message = cosmos_dnnl_pack(
            oneDNNType, Int64(values.rows), Int64(values.columns), values.matrix.base, Int64(values.matrix.stride),
            values.isTransposed, storage)
        if let message {
            fatalError("oneDNN could not pack \(values.rows)x\(values.columns): \(String(cString: message))")
        }
    }

    /// c = a b + beta c, summed in float32 and rounded once, on the calling thread.
    fileprivate static func productByOneDNN<Result>(
        _ a: Operand<Self>, _ b: Operand<Self>, into c: Matrix<Result>, beta: Float
    ) {
        require(
            a.columns == b.rows && c.rows == a.rows && c.columns == b.columns,
            "product of \(a.rows)x\(a.columns) and \(b.rows)x\(b.columns) into \(c.rows)x\(c.columns)")
        require(!a.isPacked && (!b.isPacked || c.stride == c.columns), "a packed operand beside a matrix with gaps")
        guard c.rows > 0, c.columns > 0 else { return }
        let message = cosmos_dnnl_multiply(
            oneDNNType, Int64(c.rows), Int64(c.columns), Int64(a.columns), a.oneDNN, b.oneDNN, c.base, Int64(c.stride),
            Result.self == BFloat16.self, beta)
        if let message {
            fatalError("oneDNN failed on \(c.rows)x\(c.columns)x\(a.columns): \(String(cString: message))")
        }
    }

    private static var oneDNNType: cosmos_dnnl_type { Self.self == Float.self ? COSMOS_DNNL_F32 : COSMOS_DNNL_BF16 }
}

extension BFloat16: ActivationElement {
    public static func product(
        _ a: Operand<BFloat16>, _ b: Operand<BFloat16>, into c: Matrix<Float>, accumulating: Bool
    ) {
        productByOneDNN(a, b, into: c, beta: accumulating ? 1 : 0)
    }

    public static func product(_ a: Operand<BFloat16>, _ b: Operand<BFloat16>, into c: Matrix<BFloat16>) {
        productByOneDNN(a, b, into: c, beta: 0)
    }

    public static func operand(_ values: Matrix<Float>, storage: Matrix<BFloat16>) -> Matrix<BFloat16> { storage }

    public static func round(_ values: Matrix<Float>, storage: Matrix<BFloat16>) { copy(values, to: storage) }

    public static func operand(_ values: Operand<Float>) -> Operand<BFloat16> {
        preconditionFailure("weights in bfloat16 are always packed")
    }
}

extension Float {
    public static func product(_ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>, accumulating: Bool) {
        if b.isPacked {
            productByOneDNN(a, b, into: c, beta: accumulating ? 1 : 0)
        } else {
            multiply(a, b, into: c, alpha: 1, beta: accumulating ? 1 : 0)
        }
    }

    public static func product(_ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>) {
        product(a, b, into: c, accumulating: false)
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
