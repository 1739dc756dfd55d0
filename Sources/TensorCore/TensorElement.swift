/// What a tensor can hold: float32, or bfloat16 as an operand of matrix products.
///
/// Arithmetic is always float32: kernels load lanes, compute, and store them rounded.
public protocol TensorElement: BitwiseCopyable, Sendable {
    /// Rounds to nearest, ties to even.
    init(_ value: Float)
    var float: Float { get }
    /// Loads 16 elements from any alignment.
    static func load(_ pointer: UnsafePointer<Self>) -> Lanes
    /// Stores 16 elements at any alignment.
    static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Self>)
}

extension TensorElement {
    /// Loads `count` (1...16) elements; the lanes beyond are zero.
    @inlinable @inline(__always)
    public static func load(_ pointer: UnsafePointer<Self>, count: Int) -> Lanes {
        if count == laneCount { return load(pointer) }
        var lanes = Lanes.zero
        for i in 0..<count { lanes[i] = pointer[i].float }
        return lanes
    }

    /// Stores the first `count` (1...16) lanes.
    @inlinable @inline(__always)
    public static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Self>, count: Int) {
        if count == laneCount { return store(lanes, pointer) }
        for i in 0..<count { pointer[i] = Self(lanes[i]) }
    }
}

extension Float: TensorElement {
    @inlinable @inline(__always)
    public var float: Float { self }

    @inlinable @inline(__always)
    public static func load(_ pointer: UnsafePointer<Float>) -> Lanes {
        UnsafeRawPointer(pointer).loadUnaligned(as: Lanes.self)
    }

    @inlinable @inline(__always)
    public static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Float>) {
        UnsafeMutableRawPointer(pointer).storeBytes(of: lanes, as: Lanes.self)
    }
}
