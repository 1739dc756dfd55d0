import TensorCore
import Testing

@Suite struct BFloat16Tests {
    /// Round to nearest, ties to even: every bfloat16 boundary that can be reached exactly.
    @Test func rounding() {
        for bits in stride(from: 0x3f80 as UInt16, through: 0x40ff, by: 1) {
            let below = BFloat16(bits: bits).float
            let above = BFloat16(bits: bits + 1).float
            let middle = (below + above) / 2
            #expect(BFloat16(below).bits == bits)
            #expect(BFloat16(middle.nextDown).bits == bits)
            #expect(BFloat16(middle.nextUp).bits == bits + 1)
            #expect(BFloat16(middle).bits == (bits % 2 == 0 ? bits : bits + 1))
        }
    }

    @Test func lanesRoundAsScalarsDo() {
        var random = Random(seed: 1, stream: "bits")
        var values = (0..<16_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
        values += [
            0, -0.0, .infinity, -.infinity, .nan, .greatestFiniteMagnitude, 1e-40, Float(bitPattern: 0x7f80_0001),
        ]
        values += [Float](repeating: 1, count: 8)
        var stored = [BFloat16](repeating: BFloat16(bits: 0), count: 16)
        for start in stride(from: 0, to: values.count, by: 16) {
            let lanes = Lanes(values[start..<start + 16])
            stored.withUnsafeMutableBufferPointer { BFloat16.store(lanes, $0.baseAddress!) }
            let loaded = stored.withUnsafeBufferPointer { BFloat16.load($0.baseAddress!) }
            for lane in 0..<16 {
                #expect(stored[lane].bits == BFloat16(values[start + lane]).bits)
                let isSame = loaded[lane] == stored[lane].float || loaded[lane].isNaN && values[start + lane].isNaN
                #expect(isSame)
            }
        }
    }

    @Test func infinityAndNaN() {
        #expect(BFloat16(.greatestFiniteMagnitude).float == .infinity)
        #expect(BFloat16(-.infinity).float == -.infinity)
        #expect(BFloat16(.nan).float.isNaN)
        #expect(BFloat16(Float(bitPattern: 0x7f80_0001)).float.isNaN, "a NaN whose upper half is infinity's")
    }
}
