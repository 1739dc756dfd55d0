import Comparison
import Testing

/// Against scipy 1.17.
@Suite struct StatisticsTests {
    @Test(arguments: [
        (0.5, 0.5, 0.3, 0.36901011956554536), (2, 3, 0.9, 0.9963), (30, 0.5, 0.97, 0.17821754497024148),
        (1000, 0.5, 0.999, 0.15724727426672383), (0.5, 20, 0.01, 0.4713699354850154), (5, 5, 0.5, 0.5),
        (100, 200, 0.35, 0.7325714649575441), (3, 4, 0, 0), (3, 4, 1, 1),
    ])
    func incompleteBetaFunction(_ a: Double, _ b: Double, _ x: Double, _ expected: Double) {
        #expect(abs(incompleteBeta(a, b, x) - expected) <= 1e-11 * max(expected, 1e-3))
    }

    @Test(arguments: [
        (0, 5, 1), (1, 1, 0.5), (2.5, 2, 0.12961172022151082), (-3, 4.7, 0.03253927397703679),
        (1.96, 1e6, 0.04999606758526985), (4.5, 3.2, 0.017833207368352786), (40, 2.5, 0.0001419563429049338),
        (0.001, 7.5, 0.9992281986746556), (8, 60, 4.900265147950212e-11),
    ])
    func studentProbability(_ t: Double, _ degrees: Double, _ expected: Double) {
        #expect(abs(studentTwoSided(t, degreesOfFreedom: degrees) - expected) <= 1e-9 * expected)
    }

    static let samples = [[3.412, 3.405, 3.420], [3.371, 3.379, 3.366, 3.381], [3.40, 3.41]].map { Sample($0) }

    @Test(arguments: [
        (0, 1, 6.83920258869936, 4.251233869600517, 0.0019097221357602943),
        (0, 2, 1.108343988091659, 2.3917233516419727, 0.36662935584013673),
        (1, 2, -5.0396858164123355, 2.053803255992059, 0.03520976639066163),
    ])
    func welch(_ first: Int, _ second: Int, _ t: Double, _ degrees: Double, _ p: Double) throws {
        let test = try #require(WelchTest(Self.samples[first], Self.samples[second]))
        #expect(abs(test.t - t) < 1e-9)
        #expect(abs(test.degreesOfFreedom - degrees) < 1e-9)
        #expect(abs(test.p - p) < 1e-11)
    }

    @Test(arguments: [([3.0], [3.1, 3.2]), ([3.0], [3.1]), ([3.0, 3.0], [3.1, 3.1]), ([], [3.1, 3.2])])
    func noTestWithoutSpread(_ first: [Double], _ second: [Double]) {
        #expect(WelchTest(Sample(first), Sample(second)) == nil)
    }

    @Test func oneSideWithoutSpreadIsEnough() throws {
        // scipy.stats.ttest_1samp([3.1, 3.2, 3.4], 3.0)
        let test = try #require(WelchTest(Sample([3.1, 3.2, 3.4]), Sample([3.0, 3.0])))
        #expect(abs(test.t - 2.6457513110645907) < 1e-9)
        #expect(abs(test.degreesOfFreedom - 2) < 1e-9)
    }

    @Test func standardDeviationHasTheDivisorOfASample() {
        #expect(abs((Sample([3, 4, 8]).standardDeviation ?? 0) - 2.6457513110645907) < 1e-12)
        #expect(Sample([3]).standardDeviation == nil)
    }

    @Test func holm() {
        let adjusted = holmAdjusted([0.01, 0.04, 0.03, 0.005, 0.9])
        for (value, expected) in zip(adjusted, [0.04, 0.09, 0.09, 0.025, 0.9]) {
            #expect(abs(value - expected) < 1e-12)
        }
        #expect(holmAdjusted([]) == [])
        #expect(holmAdjusted([0.7, 0.8]) == [1, 1])
    }
}
