import Foundation
import Generation
import TensorCore
import Testing

@Suite struct SamplingTests {
    /// Logits whose softmax is 0.5, 0.25, 0.125, 0.125, in another order.
    private let logits: [Float] = [0.125, 0.5, 0.125, 0.25].map { Foundation.log($0) }

    private func distribution(_ sampling: Sampling) -> [Int32: Double] {
        Dictionary(uniqueKeysWithValues: sampling.distribution(logits).map { ($0.token, $0.probability) })
    }

    private func expect(_ sampling: Sampling, _ expected: [Int32: Double]) {
        let actual = distribution(sampling)
        #expect(actual.keys.sorted() == expected.keys.sorted())
        for (token, probability) in expected { #expect(abs((actual[token] ?? 0) - probability) < 1e-7) }
    }

    @Test func withoutCutsItIsTheSoftmax() { expect(Sampling(), [0: 0.125, 1: 0.5, 2: 0.125, 3: 0.25]) }

    @Test func temperatureZeroTakesTheMostProbable() {
        expect(Sampling(temperature: 0, topK: 3, topP: 0.1), [1: 1])
        #expect(Sampling(temperature: 0).distribution([1, 3, 3] as [Float]).map(\.token) == [1])
        var random = Random(seed: 1, stream: "argmax")
        for _ in 0..<10 { #expect(Sampling(temperature: 0).next(logits, random: &random) == 1) }
    }

    /// At temperature 1/2 probabilities are squared and renormalized: 16, 4, 1, 1 of 22.
    @Test func temperatureSharpens() {
        expect(Sampling(temperature: 0.5), [0: 1 / 22, 1: 16 / 22, 2: 1 / 22, 3: 4 / 22])
    }

    /// Of equal tokens the one with the lower id stays.
    @Test func topKKeepsTheMostProbable() {
        expect(Sampling(topK: 1), [1: 1])
        expect(Sampling(topK: 2), [1: 2 / 3, 3: 1 / 3])
        expect(Sampling(topK: 3), [1: 4 / 7, 3: 2 / 7, 0: 1 / 7])
        expect(Sampling(topK: 9), [0: 0.125, 1: 0.5, 2: 0.125, 3: 0.25])
    }

    @Test func topPKeepsTheFewestThatReachIt() {
        expect(Sampling(topP: 0.01), [1: 1])
        expect(Sampling(topP: 0.49), [1: 1])
        expect(Sampling(topP: 0.51), [1: 2 / 3, 3: 1 / 3])
        expect(Sampling(topP: 0.8), [1: 4 / 7, 3: 2 / 7, 0: 1 / 7])
        expect(Sampling(topP: 0.99), [0: 0.125, 1: 0.5, 2: 0.125, 3: 0.25])
    }

    /// The nucleus is that of the tokens which top-k left: 2/3 of them is 0.7 reached by two.
    @Test func topPCountsWithinTopK() {
        expect(Sampling(topK: 2, topP: 0.6), [1: 1])
        expect(Sampling(topK: 2, topP: 0.7), [1: 2 / 3, 3: 1 / 3])
    }

    @Test func hugeLogitsDoNotOverflow() {
        let tokens = Sampling(temperature: 0.01).distribution([3e38, -3e38, 3e38] as [Float])
        #expect(tokens.map(\.probability) == [0.5, 0, 0.5])
    }

    @Test func drawsFollowTheDistributionAndTheSeed() {
        func draws(seed: UInt64) -> [Int32] {
            var random = Random(seed: seed, stream: "draws")
            return (0..<20_000).map { _ in Sampling(topK: 3).next(logits, random: &random) }
        }
        let tokens = draws(seed: 1)
        #expect(tokens == draws(seed: 1))
        #expect(tokens != draws(seed: 2))
        // Five standard deviations of a share are below 0.018.
        for (token, share) in [(1, 4.0 / 7), (3, 2.0 / 7), (0, 1.0 / 7), (2, 0)] {
            #expect(abs(Double(tokens.count { $0 == token }) / 20_000 - share) < 0.018)
        }
    }
}
