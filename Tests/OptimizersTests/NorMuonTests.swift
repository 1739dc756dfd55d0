import TestSupport
import Testing

@Suite struct NorMuonTests {
    /// The last has two tiles of rows.
    @Test(arguments: [(6, 10), (10, 6), (16_400, 4)])
    func followsItsEquations(_ m: Int, _ n: Int) throws {
        var settings = NorMuon()
        (settings.lr, settings.momentum, settings.beta2, settings.weightDecay) = (1, 0.9, 0.8, 0.1)
        let replay = try Replay(of: settings, shape: [m, n]) {
            var (average, v) = (DenseMatrix(m, n), [Double](repeating: 0, count: m))
            return { w, g, lr, _ in
                average = 0.9 * average + 0.1 * g
                var o = (0.9 * average + 0.1 * g).newtonSchulz()
                for row in 0..<m {
                    v[row] = 0.8 * v[row] + 0.2 * (0..<n).reduce(0) { $0 + o[row, $1] * o[row, $1] } / Double(n)
                    for column in 0..<n { o[row, column] /= v[row].squareRoot() + 1e-8 }
                }
                w = (1 - lr * 0.1) * w - (lr * 0.2 * Double(m * n).squareRoot() / o.norm) * o
            }
        }
        #expect(replay.difference <= replay.tolerance)
    }
}
