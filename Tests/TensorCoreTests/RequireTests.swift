import TensorCore
import Testing

@Suite struct RequireTests {
    /// Tests are built as the program is: what is seen here, its users see.
    @Test func aReleaseBuildSaysWhichShapesDoNotMatch() async throws {
        let ended = await #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            let (a, b) = (Tensor<Float>(2, 3), Tensor<Float>(4, 5))
            multiply(a.matrix.plain, b.matrix.plain, into: Tensor<Float>(2, 5).matrix)
        }
        let message = String(decoding: try #require(ended).standardErrorContent, as: UTF8.self)
        #expect(message.contains("TensorCore/MatMul.swift"))
        #expect(message.contains("product of 2x3 and 4x5 into 2x5"), "\(message)")
    }
}
