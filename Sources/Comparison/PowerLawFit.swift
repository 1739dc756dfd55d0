// The loss of an optimizer as a function of the tokens that it is trained on,
//
//     L(D) = a D^-b + c,        a > 0, b > 0, c >= 0,
//
// fitted to final losses, and read backwards: the tokens at which it would reach a loss. Speed-up as in
// Wen, Hall, Ma, Liang 2025 (arXiv 2509.02046, "Marin"): the tokens that AdamW needs for another
// optimizer's loss, over the tokens that the other one had.
//
// The relative errors of the losses go through Huber's function with delta 1e-3 (as in Hoffmann et al.
// 2022, who take logarithms), so that a single bad run does not bend the curve. For a given b the law is
// a straight line in D^-b: reweighted least squares give a and c. b is searched.

import Foundation

/// L(D) = a D^-b + c.
public struct PowerLawFit: Equatable, Sendable {
    public let a: Double
    public let b: Double
    public let c: Double
    /// The largest distance of a point from the curve, in nats.
    public let largestError: Double

    private static let exponents = 0.01...4.0
    private static let delta = 1e-3

    /// Fits three points or more, of which at least three differ in tokens. Nil where no falling curve of
    /// this form is nearest to the points.
    public init?(_ points: [(tokens: Double, loss: Double)]) {
        guard Set(points.map(\.tokens)).count >= 3, points.allSatisfy({ $0.tokens > 0 && $0.loss > 0 }) else {
            return nil
        }
        // In units of the geometric mean of the tokens, so that a and c are of one size.
        let unit = exp(points.reduce(0) { $0 + log($1.tokens) } / Double(points.count))
        let scaled = points.map { (x: log($0.tokens / unit), loss: $0.loss) }
        func cost(_ logExponent: Double) -> Double { Line(scaled, exponent: exp(logExponent))?.cost ?? .infinity }

        let (low, high) = (log(Self.exponents.lowerBound), log(Self.exponents.upperBound))
        let steps = 200
        let width = (high - low) / Double(steps)
        let costs = (0...steps).map { cost(low + Double($0) * width) }
        guard let best = costs.indices.min(by: { costs[$0] < costs[$1] }), costs[best].isFinite,
            best > 0, best < steps
        else { return nil }
        let exponent = exp(goldenSection(low + Double(best - 1) * width, low + Double(best + 1) * width, cost))
        guard let line = Line(scaled, exponent: exponent) else { return nil }
        b = exponent
        a = line.a * pow(unit, exponent)
        c = line.c
        largestError = scaled.map { abs(line.a * exp(-exponent * $0.x) + line.c - $0.loss) }.max() ?? 0
    }

    public func loss(tokens: Double) -> Double { a * pow(tokens, -b) + c }

    /// The tokens that lead to a loss; nil for one below the curve's limit c.
    public func tokens(loss: Double) -> Double? { loss > c ? pow((loss - c) / a, -1 / b) : nil }

    private struct Line {
        var a = 0.0
        var c = 0.0
        var cost = 0.0

        /// `x` is the logarithm of the tokens. Nil where the line does not fall.
        init?(_ points: [(x: Double, loss: Double)], exponent: Double) {
            let powers = points.map { exp(-exponent * $0.x) }
            var weights = points.map { 1 / ($0.loss * $0.loss) }
            for _ in 0..<100 {
                let last = (a, c)
                solve(powers, points.map(\.loss), weights)
                let errors = zip(powers, points).map { abs(a * $0 + c - $1.loss) / $1.loss }
                weights = zip(errors, points).map { error, point in
                    min(1, PowerLawFit.delta / max(error, 1e-300)) / (point.loss * point.loss)
                }
                cost = errors.reduce(0) { sum, error in
                    sum
                        + (error <= PowerLawFit.delta
                            ? error * error / 2 : PowerLawFit.delta * (error - PowerLawFit.delta / 2))
                }
                if abs(a - last.0) + abs(c - last.1) <= 1e-14 * (abs(a) + abs(c)) { break }
            }
            guard a > 0, cost.isFinite else { return nil }
        }

        /// Weighted least squares with c >= 0.
        private mutating func solve(_ x: [Double], _ y: [Double], _ weights: [Double]) {
            let total = weights.reduce(0, +)
            let meanX = zip(x, weights).reduce(0) { $0 + $1.0 * $1.1 } / total
            let meanY = zip(y, weights).reduce(0) { $0 + $1.0 * $1.1 } / total
            var (xx, xy, squares, products) = (0.0, 0.0, 0.0, 0.0)
            for (index, weight) in weights.enumerated() {
                xx += weight * (x[index] - meanX) * (x[index] - meanX)
                xy += weight * (x[index] - meanX) * (y[index] - meanY)
                squares += weight * x[index] * x[index]
                products += weight * x[index] * y[index]
            }
            a = xy / xx
            c = meanY - a * meanX
            if c < 0 { (a, c) = (products / squares, 0) }
        }
    }
}

/// The place between `low` and `high` where a function with one valley is lowest.
private func goldenSection(_ low: Double, _ high: Double, _ function: (Double) -> Double) -> Double {
    let ratio = (5.0.squareRoot() - 1) / 2
    var (low, high) = (low, high)
    var (left, right) = (high - ratio * (high - low), low + ratio * (high - low))
    var (leftValue, rightValue) = (function(left), function(right))
    while high - low > 1e-9 {
        if leftValue < rightValue {
            (high, right, rightValue) = (right, left, leftValue)
            left = high - ratio * (high - low)
            leftValue = function(left)
        } else {
            (low, left, leftValue) = (left, right, rightValue)
            right = low + ratio * (high - low)
            rightValue = function(right)
        }
    }
    return (low + high) / 2
}
