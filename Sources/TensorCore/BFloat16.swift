/// bfloat16: the upper half of a float32 (8 exponent bits, 8 significant bits).
///
/// Storage and operand format only. Conversion from float32 rounds to nearest, ties to even; NaN stays
/// NaN, values beyond the largest finite bfloat16 become infinite, and subnormal ones zero.
public struct BFloat16: TensorElement, Equatable {
    public var bits: UInt16

    @inlinable @inline(__always)
    public init(bits: UInt16) { self.bits = bits }

    @inlinable @inline(__always)
    public init(_ value: Float) {
        let u = value.bitPattern
        if value.isNaN {
            // One whose upper half is zero would round to infinity: force its quiet bit.
            bits = UInt16(truncatingIfNeeded: u >> 16) | 0x40
        } else if u & 0x7f80_0000 == 0 {
            bits = UInt16(truncatingIfNeeded: u >> 16) & 0x8000
        } else {
            bits = UInt16(truncatingIfNeeded: (u &+ 0x7fff &+ ((u >> 16) & 1)) >> 16)
        }
    }

    @inlinable @inline(__always)
    public var float: Float { Float(bitPattern: UInt32(bits) << 16) }

    @inlinable @inline(__always)
    public static func load(_ pointer: UnsafePointer<BFloat16>) -> Lanes {
        Lanes(bfloat16Bits: UnsafeRawPointer(pointer).loadUnaligned(as: SIMD16<UInt16>.self))
    }

    @inlinable @inline(__always)
    public static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<BFloat16>) {
        UnsafeMutableRawPointer(pointer).storeBytes(of: lanes.bfloat16Bits, as: SIMD16<UInt16>.self)
    }
}
