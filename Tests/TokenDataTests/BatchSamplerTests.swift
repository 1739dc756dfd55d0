import Foundation
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
            var other = BatchSampler(windowCount: count, seed: 2)
            #expect(other.next(count) != epochs[0])
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
