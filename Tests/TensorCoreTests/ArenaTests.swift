import TensorCore
import Testing

@Suite struct ArenaTests {
    private static func layout(_ arena: Arena) -> (Matrix<Float>, UnsafeMutablePointer<Double>, Matrix<Float>) {
        let overlaid = arena.overlaid { arena.matrix(100, 3) }
        return (arena.matrix(5, 7), arena.array(3, of: Double.self), overlaid)
    }

    @Test func piecesAreApartAlignedAndFitWhatWasCounted() {
        let count = Arena.byteCount { _ = Self.layout($0) }
        let arena = Arena(byteCount: count)
        let (matrix, numbers, overlaid) = Self.layout(arena)
        #expect(UInt(bitPattern: matrix.base) % 64 == 0 && UInt(bitPattern: numbers) % 64 == 0)
        #expect(UnsafeRawPointer(numbers) >= UnsafeRawPointer(matrix.base + matrix.count))
        #expect(overlaid.base == matrix.base)
        #expect(count >= 1200)
        #expect(Arena.byteCount { _ = $0.array(0, of: Float.self) } == 0)
        arena.reset()
        #expect(Self.layout(arena).0.base == matrix.base)
    }
}
