/// bfloat16: the upper half of a float32 (8 exponent bits, 8 significant bits).
///
/// Storage and operand format only. Conversion from float32 rounds to nearest, ties to even;
/// NaN stays NaN, and values beyond the largest finite bfloat16 become infinite.
public struct BFloat16: TensorElement, Equatable {
    public var bits: UInt16

    @inlinable @inline(__always)
    public init(bits: UInt16) { self.bits = bits }

    @inlinable @inline(__always)
    public init(_ value: Float) {
        let u = value.bitPattern
        // A NaN whose upper half is zero would round to infinity: force its quiet bit.
        bits =
            value.isNaN
            ? UInt16(truncatingIfNeeded: u >> 16) | 0x40
            : UInt16(truncatingIfNeeded: (u &+ 0x7fff &+ ((u >> 16) & 1)) >> 16)
    }

    @inlinable @inline(__always)
    public var float: Float { Float(bitPattern: UInt32(bits) << 16) }

    @inlinable @inline(__always)
    public static func load(_ pointer: UnsafePointer<BFloat16>) -> Lanes {
        let half = UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<UInt16>.self)
        return unsafeBitCast(SIMD16<UInt32>(truncatingIfNeeded: half) &<< 16, to: Lanes.self)
    }

    @inlinable @inline(__always)
    public static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<BFloat16>) {
        let u = unsafeBitCast(lanes, to: SIMD16<UInt32>.self)
        let rounded = (u &+ 0x7fff &+ ((u &>> 16) & 1)) &>> 16
        let quiet = (u &>> 16) | 0x40
        let isNaN = unsafeBitCast(lanes .!= lanes, to: SIMD16<Int32>.self) .!= 0
        let half = rounded.replacing(with: quiet, where: isNaN)
        UnsafeMutableRawPointer(pointer).storeBytes(
            of: SIMD16<UInt16>(truncatingIfNeeded: half), as: SIMD16<UInt16>.self)
    }
}
