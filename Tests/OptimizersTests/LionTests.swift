import TestSupport
import Testing

@Suite struct LionTests {
    @Test func followsItsEquations() throws {
        var lion = Lion()
        (lion.lr, lion.betas, lion.weightDecay) = (0.02, [0.8, 0.95], 0.1)
        let replay = try Replay(of: lion, shape: [6, 21]) {
            var m = DenseMatrix(6, 21)
            return { w, g, lr, _ in
                let mixed = 0.8 * m + 0.2 * g
                w = (1 - lr * 0.1) * w - lr * mixed.map { $0 > 0 ? 1 : -1 }
                m = 0.95 * m + 0.05 * g
            }
        }
        #expect(replay.difference <= replay.tolerance)
    }
}
