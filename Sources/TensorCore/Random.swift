import Glibc

/// A seeded random stream: xoshiro256++ (Blackman and Vigna 2021), its state filled by SplitMix64.
///
/// Streams of different names under one seed are independent, so what one part of the program draws
/// never shifts what another sees: weights do not depend on the order of initialization, nor the
/// order of the data on the number of parameters.
public struct Random: RandomNumberGenerator, Sendable {
    /// The generator's whole state, for checkpoints.
    public private(set) var state: SIMD4<UInt64>

    /// The stream `name` under `seed`.
    public init(seed: UInt64, stream name: String) {
        // FNV-1a over the name, mixed with the seed.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        var mixer = hash ^ (seed &* 0x9e37_79b9_7f4a_7c15)
        func next() -> UInt64 {
            mixer &+= 0x9e37_79b9_7f4a_7c15
            var z = mixer
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
        state = SIMD4(next(), next(), next(), next())
    }

    public mutating func next() -> UInt64 {
        func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }
        let result = rotate(state[0] &+ state[3], 23) &+ state[0]
        let t = state[1] << 17
        state[2] ^= state[0]
        state[3] ^= state[1]
        state[1] ^= state[2]
        state[0] ^= state[3]
        state[2] ^= t
        state[3] = rotate(state[3], 45)
        return result
    }

    /// Uniform on [0, 1) with 53 random bits.
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Uniform on 0 ..< bound, without bias (Lemire 2019).
    public mutating func below(_ bound: Int) -> Int {
        require(bound > 0, "random number below \(bound)")
        let bound = UInt64(bound)
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let threshold = (0 &- bound) % bound
            while product.low < threshold { product = next().multipliedFullWidth(by: bound) }
        }
        return Int(product.high)
    }

    /// Two independent standard normals (Box-Muller, in Double).
    public mutating func normalPair() -> (Double, Double) {
        let radius = (-2 * log(1 - uniform())).squareRoot()
        let angle = 2 * Double.pi * uniform()
        return (radius * cos(angle), radius * sin(angle))
    }

    /// Draws what `normalPair` does.
    package mutating func skipNormalPair() { _ = (next(), next()) }
}
