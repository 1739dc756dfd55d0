import Glibc

/// A dense row-major array that owns its memory: 64-byte aligned, zero at first, never resized.
///
/// Fresh memory comes as untouched zero pages, so a tensor that is never written (a gradient during
/// evaluation) costs no resident memory. Access is through views (`Matrix`) and raw pointers; the
/// caller keeps concurrent writers apart, which is why the class is unchecked `Sendable`.
public final class Tensor<Element: TensorElement>: @unchecked Sendable {
    public let shape: [Int]
    public let count: Int
    public let data: UnsafeMutablePointer<Element>
    /// nil: made by `withoutMemory`, or in the memory of `owner`.
    private let allocation: UnsafeMutableRawPointer?
    private let owner: Tensor?

    public init(_ shape: [Int]) {
        require(shape.allSatisfy { $0 > 0 }, "tensor shape \(shape) has an empty dimension")
        self.shape = shape
        count = shape.reduce(1, *)
        owner = nil
        if DryAllocation.isOn {
            allocation = nil
            data = UnsafeMutablePointer(bitPattern: 64)!
            return
        }
        guard let memory = calloc(count * MemoryLayout<Element>.stride + 64, 1) else {
            endWithoutMemory("\(count * MemoryLayout<Element>.stride) bytes for a tensor of shape \(shape)")
        }
        allocation = memory
        let aligned = (UInt(bitPattern: memory) + 63) & ~63
        data = UnsafeMutableRawPointer(bitPattern: aligned)!
            .bindMemory(to: Element.self, capacity: count)
    }

    public convenience init(_ shape: Int...) { self.init(shape) }

    /// The same elements under another identity.
    init(sharing owner: Tensor) {
        (shape, count, data) = (owner.shape, owner.count, owner.data)
        (allocation, self.owner) = (nil, owner)
    }

    /// Some rows of another tensor, in its memory.
    package init(rows: Range<Int>, of whole: Tensor<Element>) {
        require(0 <= rows.lowerBound && rows.upperBound <= whole.shape[0], "rows \(rows) of shape \(whole.shape)")
        shape = [rows.count] + whole.shape.dropFirst()
        count = shape.reduce(1, *)
        data = whole.data + rows.lowerBound * (whole.count / whole.shape[0])
        (allocation, owner) = (nil, whole)
    }

    deinit { free(allocation) }

    /// False for a tensor made by `withoutMemory`, whose elements must not be touched.
    public var hasMemory: Bool { allocation != nil || owner?.hasMemory == true }

    public var byteCount: Int { count * MemoryLayout<Element>.stride }

    /// All elements in row-major order.
    public var elements: UnsafeMutableBufferPointer<Element> {
        UnsafeMutableBufferPointer(start: data, count: count)
    }

    /// The tensor as a matrix: its last dimension gives the columns, all others the rows; a 1-D
    /// tensor is one row.
    public var matrix: Matrix<Element> {
        let columns = shape.last ?? 1
        return Matrix(data, rows: count / columns, columns: columns, stride: columns)
    }

    public func zero() { memset(data, 0, byteCount) }

    public func copy(from other: Tensor<Element>) {
        require(count == other.count, "copy of shape \(other.shape) into \(shape)")
        memcpy(data, other.data, byteCount)
    }
}

/// Plans refuse what cannot fit, so this is a limit that they do not know, such as `ulimit -v`.
func endWithoutMemory(_ what: String) -> Never {
    endProgram(
        "the system gives no memory: \(what)",
        hint: "see `ulimit -v`, free some memory, or choose a smaller model", status: 74)
}

/// Ends the program where the system refuses what nothing can go on without.
func endProgram(_ error: String, hint: String, status: Int32) -> Never {
    let message = Array("error: \(error)\nhint: \(hint)\n".utf8)
    write(STDERR_FILENO, message, message.count)
    exit(status)
}

public struct NamedTensor: Sendable {
    public let name: String
    public let tensor: Tensor<Float>

    public init(_ name: String, _ tensor: Tensor<Float>) {
        self.name = name
        self.tensor = tensor
    }
}
