import Foundation
import TestSupport
import Testing
import TokenData

@Suite struct BatchSamplerTests {
    @Test(arguments: [1, 2, 3, 7, 255, 256, 257, 1000, 4099])
    func everyWindowComesOnceAnEpochInAnotherOrder(_ count: Int) {
        var sampler = BatchSampler(windowCount: count, seed: 1)
        let epochs = (0..<3).map { _ in sampler.next(count) }
        for epoch in epochs { #expect(epoch.sorted() == Array(0..<count)) }
        if count > 6 {
            #expect(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2])
            for seed in [2, 1 + 1 << 32, 1 + 1 << 63] as [UInt64] {
                var other = BatchSampler(windowCount: count, seed: seed)
                #expect(other.next(count) != epochs[0])
            }
        }
        #expect(sampler.position == BatchSampler.Position(epoch: 3, index: 0))
    }

    @Test func batchesOfAnySizeGiveTheSameOrder() {
        var (whole, parts) = (BatchSampler(windowCount: 100, seed: 9), BatchSampler(windowCount: 100, seed: 9))
        let expected = whole.next(350)
        var order: [Int] = []
        for size in [1, 64, 35, 100, 7, 143] { order += parts.next(size) }
        #expect(order == expected)
    }

    @Test(arguments: [0, 1, 99, 100, 157]) func aSavedPositionGoesOnWhereItStopped(_ done: Int) throws {
        var straight = BatchSampler(windowCount: 100, seed: 4)
        _ = straight.next(done)
        let saved = try JSONEncoder().encode(straight.position)
        let position = try JSONDecoder().decode(BatchSampler.Position.self, from: saved)
        var resumed = BatchSampler(windowCount: 100, seed: 4, position: position)
        #expect(resumed.next(260) == straight.next(260))
    }

    /// As docs/data-format.md says it, step by step, and with the orders that it gives as an example.
    @Test func theOrderIsTheDocumented() throws {
        func order(_ n: Int, seed: UInt64, epoch: Int) -> (firstKey: UInt64, [Int]) {
            func rotl(_ x: UInt64, _ k: UInt64) -> UInt64 { x << k | x >> (64 - k) }
            var h: UInt64 = 0xcbf2_9ce4_8422_2325
            for b in "data order, epoch \(epoch)".utf8 { h = (h ^ UInt64(b)) &* 0x100_0000_01b3 }
            var x = h ^ (seed &* 0x9e37_79b9_7f4a_7c15)
            var s = (0..<4).map { _ in
                x = x &+ 0x9e37_79b9_7f4a_7c15
                var z = x
                z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
                z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
                return z ^ (z >> 31)
            }
            let keys = (0..<12).map { _ in
                let output = rotl(s[0] &+ s[3], 23) &+ s[0]
                let t = s[1] << 17
                s[2] ^= s[0]
                s[3] ^= s[1]
                s[1] ^= s[2]
                s[0] ^= s[3]
                s[2] ^= t
                s[3] = rotl(s[3], 45)
                return output
            }
            let bits = max(8, String(n - 1, radix: 2).count)
            let m = UInt64((bits + 1) / 2)
            let windows = (0..<n).map { i in
                var v = UInt64(i)
                repeat {
                    var (l, r) = (v >> m, v & (1 << m - 1))
                    for k in keys {
                        var f = r &+ k
                        f = (f ^ (f >> 33)) &* 0xff51_afd7_ed55_8ccd
                        f = (f ^ (f >> 33)) &* 0xc4ce_b9fe_1a85_ec53
                        f = f ^ (f >> 33)
                        (l, r) = (r, l ^ (f & (1 << m - 1)))
                    }
                    v = l << m | r
                } while v >= n
                return Int(v)
            }
            return (keys[0], windows)
        }
        for (n, seed) in [(1, 3), (10, 1), (256, 0), (257, 7), (70_000, UInt64(Int.max))] {
            var sampler = BatchSampler(windowCount: n, seed: seed)
            for epoch in 0..<2 { #expect(sampler.next(n) == order(n, seed: seed, epoch: epoch).1) }
        }
        let text = try String(contentsOf: repositoryRoot.appending(path: "docs/data-format.md"), encoding: .utf8)
        for epoch in 0..<2 {
            let windows = order(10, seed: 1, epoch: epoch).1.map(String.init).joined(separator: " ")
            #expect(text.contains("    epoch \(epoch): \(windows)\n"))
        }
        #expect(text.contains("`\(String(order(10, seed: 1, epoch: 0).firstKey, radix: 16))`"))
    }

    /// Over many seeds, each window comes at each place about equally often, and so does each
    /// ordered pair of windows at the first two places.
    @Test func theOrderIsUniform() {
        let (count, trials) = (5, 12_000)
        var places = [Int](repeating: 0, count: count * count)
        var pairs = [Int](repeating: 0, count: count * count)
        for seed in 0..<UInt64(trials) {
            var sampler = BatchSampler(windowCount: count, seed: seed)
            let order = sampler.next(count)
            for (place, window) in order.enumerated() { places[place * count + window] += 1 }
            pairs[order[0] * count + order[1]] += 1
        }
        func chiSquare(_ counts: [Int], _ expected: Double) -> Double {
            counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
        }
        // 16 and 19 degrees of freedom; the quantiles of 0.9999 are 44 and 49.
        #expect(chiSquare(places, Double(trials) / 5) < 45)
        #expect(chiSquare(pairs.filter { $0 > 0 }, Double(trials) / 20) < 50)
        #expect(pairs.filter { $0 > 0 }.count == 20)
    }

    @Test func neighboursAreScattered() {
        var sampler = BatchSampler(windowCount: 1_000_000, seed: 3)
        let order = sampler.next(20_000)
        // The mean distance of two uniform numbers below n is n / 3.
        let distance = zip(order, order.dropFirst()).reduce(0.0) { $0 + Double(abs($1.0 - $1.1)) } / 19_999
        #expect(abs(distance - 1_000_000.0 / 3) < 8_000)
    }
}
