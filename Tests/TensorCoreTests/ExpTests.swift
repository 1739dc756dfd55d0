import Foundation
import TensorCore
import Testing

@Suite struct ExpTests {
    /// Every exponent and many mantissas, against Double.
    @Test func accuracy() {
        var worst = 0.0
        var x: Float = -87.2
        while x < 88.2 {
            let lanes = Lanes((0..<16).map { x + Float($0) * 0.0007 })
            let results = TensorCore.exp(lanes)
            for lane in 0..<16 {
                let exact = Foundation.exp(Double(lanes[lane]))
                worst = max(worst, abs(Double(results[lane]) - exact) / exact)
            }
            x += 0.0112
        }
        #expect(worst < 2.5e-7, "largest relative error \(worst)")
    }

    @Test func base2() {
        var worst = 0.0
        var x: Float = -125.9
        while x < 20 {
            let lanes = Lanes((0..<16).map { x + Float($0) * 0.0011 })
            let results = TensorCore.exp2(lanes)
            for lane in 0..<16 {
                let exact = Foundation.exp2(Double(lanes[lane]))
                worst = max(worst, abs(Double(results[lane]) - exact) / exact)
            }
            x += 0.0173
        }
        #expect(worst < 2.5e-7, "largest relative error \(worst)")
        let edges = TensorCore.exp2(
            Lanes([0, -0.0, -126.1, -1e30, -.infinity, .nan] + [Float](repeating: 3, count: 10)))
        #expect(edges[0] == 1 && edges[1] == 1 && edges[2] == 0 && edges[3] == 0 && edges[4] == 0)
        #expect(edges[5].isNaN && edges[6] == 8)
    }

    @Test func edges() {
        let x = Lanes([
            0, -0.0, 1, -1, -87, -88, -1e30, -.infinity, 88, 1e30, .infinity, .nan, 1e-40, -1e-40, 0.5, -0.5,
        ])
        let results = TensorCore.exp(x)
        #expect(results[0] == 1 && results[1] == 1 && results[12] == 1 && results[13] == 1)
        #expect(results[5] == 0 && results[6] == 0 && results[7] == 0)
        #expect(results[9].isFinite && results[9] > 1e38 && results[10] == results[9])
        #expect(results[11].isNaN)
    }

    @Test func logistic() {
        for value: Float in [-100, -20, -1, -1e-6, 0, 0.3, 5, 17, 100] {
            let exact = 1 / (1 + Foundation.exp(-Double(value)))
            let result = Double(sigmoid(Lanes(repeating: value))[3])
            #expect(abs(result - exact) <= 3e-7 * exact + 1e-38, "sigmoid(\(value)) = \(result)")
        }
    }
}
