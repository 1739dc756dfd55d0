// What a handful of seeds can tell: mean, standard deviation, Welch's test, Holm's correction.
//
//     t  = (m1 - m2) / sqrt(s1^2 / n1 + s2^2 / n2)                      Welch 1947
//     nu = (s1^2 / n1 + s2^2 / n2)^2 / (s1^4 / (n1^2 (n1 - 1)) + s2^4 / (n2^2 (n2 - 1)))
//     p  = P(|T_nu| > |t|) = I_x(nu / 2, 1 / 2),  x = nu / (nu + t^2)
//
// I is the regularized incomplete beta function.

import Foundation

/// Mean and spread of the losses of some seeds.
public struct Sample: Equatable, Sendable {
    public let values: [Double]

    public init(_ values: [Double]) { self.values = values }

    public var count: Int { values.count }
    /// Not a number where there are no values.
    public var mean: Double { values.reduce(0, +) / Double(count) }
    /// With the divisor n - 1; nil of fewer than two values.
    public var standardDeviation: Double? {
        guard count > 1 else { return nil }
        let mean = mean
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count - 1)).squareRoot()
    }
}

/// Welch's t-test of two samples that may differ in spread: is the difference of their means chance?
public struct WelchTest: Equatable, Sendable {
    public let t: Double
    public let degreesOfFreedom: Double
    /// Two-sided.
    public let p: Double

    /// Nil where no test is possible: fewer than two values on a side, or no spread at all.
    public init?(_ first: Sample, _ second: Sample) {
        guard let s1 = first.standardDeviation, let s2 = second.standardDeviation, s1 > 0 || s2 > 0 else { return nil }
        let (n1, n2) = (Double(first.count), Double(second.count))
        let (v1, v2) = (s1 * s1 / n1, s2 * s2 / n2)
        t = (first.mean - second.mean) / (v1 + v2).squareRoot()
        degreesOfFreedom = (v1 + v2) * (v1 + v2) / (v1 * v1 / (n1 - 1) + v2 * v2 / (n2 - 1))
        p = studentTwoSided(t, degreesOfFreedom: degreesOfFreedom)
        // Spreads so small that their fourth power vanishes.
        guard t.isFinite, degreesOfFreedom.isFinite, p.isFinite else { return nil }
    }
}

/// Holm's step-down correction (Holm 1979): p-values of a family of tests, adjusted so that the chance of
/// one false difference among all of them stays below the level that each is compared with.
public func holmAdjusted(_ p: [Double]) -> [Double] {
    var adjusted = p
    var largest = 0.0
    for (rank, index) in p.indices.sorted(by: { p[$0] < p[$1] }).enumerated() {
        largest = max(largest, min(1, p[index] * Double(p.count - rank)))
        adjusted[index] = largest
    }
    return adjusted
}

/// The probability that Student's t with this many degrees of freedom is farther from 0 than `t`.
public func studentTwoSided(_ t: Double, degreesOfFreedom nu: Double) -> Double {
    incompleteBeta(nu / 2, 0.5, nu / (nu + t * t))
}

/// The regularized incomplete beta function I_x(a, b), for a, b > 0 and x in 0 ... 1.
///
/// Its continued fraction (Abramowitz and Stegun 26.5.8) by Lentz's method as Thompson and Barnett
/// modified it. It converges fast for x below (a + 1) / (a + b + 2); beyond, I_x(a, b) = 1 - I_1-x(b, a).
public func incompleteBeta(_ a: Double, _ b: Double, _ x: Double) -> Double {
    if x <= 0 { return 0 }
    if x >= 1 { return 1 }
    if x > (a + 1) / (a + b + 2) { return 1 - incompleteBeta(b, a, 1 - x) }
    let tiny = 1e-300
    func nonZero(_ value: Double) -> Double { abs(value) < tiny ? tiny : value }
    var numerator = 1.0
    var denominator = 1 / nonZero(1 - (a + b) * x / (a + 1))
    var fraction = denominator
    for step in 1...10_000 {
        let m = Double(step)
        var change = 1.0
        for coefficient in [
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ] {
            denominator = 1 / nonZero(1 + coefficient * denominator)
            numerator = nonZero(1 + coefficient / numerator)
            change = numerator * denominator
            fraction *= change
        }
        if abs(change - 1) < 1e-15 { break }
    }
    let logFactor = a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b) - log(a)
    return exp(logFactor) * fraction
}
