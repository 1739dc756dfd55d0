import LLaMA
import TensorCore
import Testing

/// Generation with the key/value cache against the whole forward pass.
@Suite struct DecoderTests {
    @Test(arguments: ReferenceTests.shapes, [1, 3, 64, 100]) func cachedEqualsUncached(
        _ shape: ReferenceTests.Shape, piece: Int
    ) throws {
        let model = ReferenceTests.model(shape)
        let tokens = Array(ReferenceTests.batch(shape).tokens.prefix(shape.length))
        let expected = try model.logits(
            tokens: tokens + [Int32](repeating: 0, count: (shape.sequences - 1) * shape.length),
            sequences: shape.sequences)
        let largest = expected.elements.map(abs).max()!
        let decoder = Decoder(model: model, maxLength: shape.length)
        for range in ranges(of: shape.length, size: piece) {
            let logits = decoder.append(Array(tokens[range]))
            for (column, value) in logits.enumerated() {
                #expect(abs(value - expected.matrix[range.upperBound - 1, column]) < 1e-5 * largest)
            }
        }
        #expect(decoder.position == shape.length)
    }

    @Test func resetForgets() {
        let shape = ReferenceTests.shapes[0]
        let decoder = Decoder(model: ReferenceTests.model(shape), maxLength: 9)
        let first = decoder.append([1, 2, 3])
        #expect(decoder.append([1, 2, 3]) != first)
        decoder.reset()
        #expect(decoder.append([1, 2, 3]) == first)
    }
}
