import TensorCore
import Testing

@Suite struct RandomTests {
    @Test func streamsAreIndependentAndRepeatable() {
        func draws(_ seed: UInt64, _ name: String) -> [UInt64] {
            var random = Random(seed: seed, stream: name)
            return (0..<4).map { _ in random.next() }
        }
        #expect(draws(1, "a") == draws(1, "a"))
        #expect(Set([draws(1, "a"), draws(2, "a"), draws(1, "b"), draws(0, "")]).count == 4)
    }

    @Test func normalMoments() {
        var random = Random(seed: 1, stream: "normal")
        let values = (0..<100_000).flatMap { _ in [random.normalPair()] }.flatMap { [$0.0, $0.1] }
        let count = Double(values.count)
        let mean = values.reduce(0, +) / count
        let variance = values.reduce(0) { $0 + $1 * $1 } / count
        let kurtosis = values.reduce(0) { $0 + $1 * $1 * $1 * $1 } / count
        // Five standard errors of each moment's estimate.
        #expect(abs(mean) < 5 / count.squareRoot())
        #expect(abs(variance - 1) < 5 * (2 / count).squareRoot())
        #expect(abs(kurtosis - 3) < 5 * (96 / count).squareRoot())
    }

    /// A small bound, and one so large that numbers must be thrown away: by classes modulo 7 and 3.
    @Test(arguments: [(7, 7), (3 << 61, 3)]) func belowIsUniform(bound: Int, classes: Int) {
        var random = Random(seed: 1, stream: "below")
        var counts = [Int](repeating: 0, count: classes)
        for _ in 0..<10_000 * classes { counts[random.below(bound) % classes] += 1 }
        // Chi squared with 6 degrees of freedom exceeds 29.8 once in 20,000.
        let chiSquared = counts.reduce(0.0) { $0 + (Double($1) - 10_000) * (Double($1) - 10_000) / 10_000 }
        #expect(chiSquared < 29.8, "\(counts)")
    }
}
