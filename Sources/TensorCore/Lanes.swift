import CVector

/// Sixteen float32 lanes: one AVX-512 register, two AVX, four SSE.
///
/// Every kernel works in these fixed lanes and every sum ends in the same tree over them, so a
/// result depends neither on the width of the machine's registers nor on the number of threads.
public typealias Lanes = SIMD16<Float>

public let laneCount = 16

extension SIMD16 where Scalar == Float {
    /// Elementwise square root, correctly rounded.
    @inlinable @inline(__always)
    public var squareRoots: Lanes { cosmos_sqrt(self) }

    /// 1, -1 or 0 by the sign of each lane; NaN stays NaN.
    @inlinable @inline(__always)
    public var signs: Lanes { cosmos_sign(self) }

    /// The lanes whose bits as `BFloat16` these are.
    @inlinable @inline(__always)
    public init(bfloat16Bits bits: SIMD16<UInt16>) { self = cosmos_widen_bfloat16(bits) }

    /// Each lane as the bits of a `BFloat16`.
    @inlinable @inline(__always)
    public var bfloat16Bits: SIMD16<UInt16> { cosmos_round_to_bfloat16(self) }

    /// Lanes of two halves each, that from `low` first in memory.
    @inlinable @inline(__always)
    public init(pairs low: SIMD16<UInt16>, _ high: SIMD16<UInt16>) { self = cosmos_pair(low, high) }

    /// `self * b + c`, rounded once where this build has fused multiply-add and twice where not.
    @inlinable @inline(__always)
    public func multiplyAdd(_ b: Lanes, _ c: Lanes) -> Lanes { cosmos_multiply_add(self, b, c) }

    /// Each lane, or the nearer end of the range; NaN stays NaN.
    @inlinable @inline(__always)
    public func clamped(_ low: Float, _ high: Float) -> Lanes { cosmos_clamp(self, low, high) }

    /// Each lane, but 0 where the lane of `other` is below `bound`.
    @inlinable @inline(__always)
    public func zeroed(where other: Lanes, isBelow bound: Float) -> Lanes { cosmos_zero_below(other, bound, self) }

    /// `first`, `first` + 1 ...
    @inlinable @inline(__always)
    public init(indices first: Float) {
        self = Lanes(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) + first
    }

    @inlinable @inline(__always)
    public func larger(_ other: Lanes) -> Lanes { cosmos_max(self, other) }

    /// The sum of the lanes as a fixed binary tree.
    @inlinable @inline(__always)
    public var laneSum: Float {
        let a = lowHalf + highHalf
        let b = a.lowHalf + a.highHalf
        let c = b.lowHalf + b.highHalf
        return c.x + c.y
    }

    @inlinable @inline(__always)
    public var laneMax: Float { cosmos_lane_max(self) }
}

/// Replaces sixteen rows of lanes by their transpose.
@inlinable @inline(__always)
public func transpose(_ rows: UnsafeMutablePointer<Lanes>) { cosmos_transpose(rows) }

/// Asks for the cache line of an address, into the second-level cache.
@inlinable @inline(__always)
public func prefetchLine(_ address: UnsafeRawPointer) { cosmos_prefetch(address) }

/// Calls `body(offset, count)` for consecutive runs of lanes over `n` elements: `count` is 16, but
/// for the last run, which has what is left.
@inlinable @inline(__always)
public func forEachLanes(_ n: Int, _ body: (_ offset: Int, _ count: Int) -> Void) {
    let whole = n & ~(laneCount - 1)
    var offset = 0
    while offset < whole {
        body(offset, laneCount)
        offset += laneCount
    }
    if whole < n { body(whole, n - whole) }
}
