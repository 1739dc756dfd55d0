import COneDNN

/// oneDNN, which multiplies bfloat16 matrices with what the CPU has for them (AMX, AVX-512 BF16).
public enum BFloat16Library {
    public static var version: String { String(cString: cosmos_dnnl_version()) }

    /// Whether this CPU has instructions for bfloat16 products. Without them oneDNN would emulate, at
    /// less than float32's speed.
    public static var isSupportedByCPU: Bool {
        CPUFeature.all.contains { ["AVX-512 BF16", "AMX BF16"].contains($0.name) && $0.isPresent }
    }
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
        require(
            a.columns == b.rows && rows == a.rows && columns == b.columns,
            "product of \(a.rows)x\(a.columns) and \(b.rows)x\(b.columns) into \(rows)x\(columns)")
        require(!a.isPacked && (!b.isPacked || stride == columns), "a packed operand beside a matrix with gaps")
        guard rows > 0, columns > 0 else { return }
        let message = cosmos_dnnl_multiply(
            Int64(rows), Int64(columns), Int64(a.columns), a.oneDNN, b.oneDNN, c, Int64(stride), isRounded,
            beta)
        if let message {
            fatalError("oneDNN failed on \(rows)x\(columns)x\(a.columns): \(String(cString: message))")
        }
    }

    public static func operand(_ values: Matrix<Float>, storage: Matrix<BFloat16>) -> Matrix<BFloat16> { storage }

    public static func round(_ values: Matrix<Float>, storage: Matrix<BFloat16>) { copy(values, to: storage) }

    public static func packedCount(rows: Int, columns: Int) -> Int {
        let bytes = Int(cosmos_dnnl_packed_bytes(Int64(rows), Int64(columns)))
        // Where oneDNN has no bfloat16 a run can still be planned, for another machine: nearly nothing is padded.
        return bytes > 0 ? bytes / MemoryLayout<BFloat16>.stride : rows * columns
    }

    public static func packed(_ values: Operand<Float>, storage: UnsafeMutablePointer<BFloat16>) -> Operand<BFloat16> {
        Operand(
            Matrix(storage, rows: values.rows, columns: values.columns, stride: values.columns), isTransposed: false,
            isPacked: true)
    }

    public static func pack(_ values: Operand<Float>, storage: UnsafeMutablePointer<BFloat16>) {
        let message = cosmos_dnnl_pack(
            Int64(values.rows), Int64(values.columns), values.matrix.base, Int64(values.matrix.stride),
            values.isTransposed, UnsafeMutableRawPointer(storage).assumingMemoryBound(to: UInt16.self))
        if let message {
            fatalError("oneDNN could not pack \(values.rows)x\(values.columns): \(String(cString: message))")
        }
    }
}

extension Operand<BFloat16> {
    fileprivate var oneDNN: cosmos_dnnl_operand {
        cosmos_dnnl_operand(
            data: UnsafeRawPointer(matrix.base).assumingMemoryBound(to: UInt16.self), stride: Int64(matrix.stride),
            layout: isPacked
                ? COSMOS_DNNL_PACKED : isTransposed ? COSMOS_DNNL_TRANSPOSED : COSMOS_DNNL_PLAIN)
    }
}
