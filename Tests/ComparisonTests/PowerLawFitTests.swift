import Comparison
import Foundation
import Testing

@Suite struct PowerLawFitTests {
    private func points(_ tokens: [Double], _ law: (Double) -> Double) -> [(tokens: Double, loss: Double)] {
        tokens.map { ($0, law($0)) }
    }

    @Test(arguments: [(30.0, 0.2, 2.0), (4_000, 0.5, 3.1), (1.5, 0.05, 0)])
    func findsTheLawThatMadeThePoints(_ a: Double, _ b: Double, _ c: Double) throws {
        let law = { a * pow($0, -b) + c }
        let fit = try #require(PowerLawFit(points([1e6, 2e6, 4e6, 8e6], law)))
        #expect(abs(fit.b - b) < 1e-4 * b)
        #expect(abs(fit.c - c) < 1e-3)
        #expect(fit.largestError < 1e-6)
        let tokens = try #require(fit.tokens(loss: law(1.3e7)))
        #expect(abs(tokens / 1.3e7 - 1) < 1e-3)
        #expect(abs(fit.loss(tokens: tokens) - law(1.3e7)) < 1e-9)
    }

    /// The same objective minimized by scipy's Nelder-Mead from many starts.
    @Test func agreesWithAnotherMinimizer() throws {
        let tokens = [1e6, 2e6, 4e6, 8e6, 1.6e7, 3.2e7]
        let losses = [5.112, 4.655, 4.288, 4.071, 3.849, 3.707]
        let fit = try #require(PowerLawFit(Array(zip(tokens, losses)).map { (tokens: $0, loss: $1) }))
        #expect(abs(fit.b - 0.4150450279) < 1e-3)
        #expect(abs(fit.c - 3.2682021430) < 2e-3)
    }

    @Test func oneBadRunDoesNotBendTheCurve() throws {
        let law = { 30 * pow($0, -0.2) + 2 }
        var bad = points([1e6, 2e6, 4e6, 8e6, 1.6e7, 3.2e7, 6.4e7], law)
        bad[3].loss += 0.5
        let fit = try #require(PowerLawFit(bad))
        #expect(abs(fit.loss(tokens: 1e8) - law(1e8)) < 2e-3)
        #expect(abs(fit.largestError - 0.5) < 5e-3)
    }

    /// No loss falls below 0, so neither does the limit.
    @Test func theLimitIsNotNegative() throws {
        let fit = try #require(PowerLawFit(points([1e6, 2e6, 4e6, 8e6]) { 10 * pow($0, -0.1) - 1 }))
        #expect(fit.c == 0)
        #expect(fit.largestError < 0.02)
    }

    @Test func lossesBelowTheLimitAreOutOfReach() throws {
        let fit = try #require(PowerLawFit(points([1e6, 2e6, 4e6, 8e6]) { 4_000 * pow($0, -0.5) + 3.1 }))
        #expect(fit.tokens(loss: 3.05) == nil)
    }

    @Test func whatDoesNotFallLikeAPowerIsNoFit() {
        #expect(PowerLawFit(points([1e6, 2e6, 4e6, 8e6]) { 3 + $0 / 1e7 }) == nil)
        #expect(PowerLawFit(points([1e6, 2e6, 4e6, 8e6]) { _ in 3 }) == nil)
        #expect(PowerLawFit(points([1e6, 2e6]) { 30 * pow($0, -0.2) }) == nil)
        #expect(PowerLawFit([(1e6, 3), (1e6, 3.1), (2e6, 2.9)]) == nil)
    }
}
