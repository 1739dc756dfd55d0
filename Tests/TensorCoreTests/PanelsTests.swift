import TensorCore
import Testing

/// Products with panels against a naive Double loop: sizes that fill no panel, several panels, parts of them.
@Suite struct PanelsTests {
    @Test(arguments: [(64, 64, 64), (3, 40, 5), (70, 130, 100), (64, 16, 200), (5, 33, 47)]) func product(
        m: Int, n: Int, k: Int
    ) {
        check(Float.self, m, n, k, tolerance: 1e-5)
        if BFloat16Library.isSupportedByCPU { check(BFloat16.self, m, n, k, tolerance: 1e-5) }
    }

    private func check<Element: ActivationElement>(_: Element.Type, _ m: Int, _ n: Int, _ k: Int, tolerance: Double) {
        let arena = Arena(byteCount: 1 << 22)
        var random = Random(seed: 3, stream: "panels")
        func matrix(_ rows: Int, _ columns: Int, gap: Int = 0) -> Matrix<Element> {
            let memory = arena.matrix(rows, columns + gap, of: Element.self)
            for i in 0..<memory.count { memory.base[i] = Element(Float(random.normalPair().0)) }
            return memory.columns(gap..<gap + columns)
        }
        let (a, b, transposed) = (matrix(m, k), matrix(k, n, gap: 3), matrix(n, k, gap: 3))
        let (first, second) = (Panels<Element>(arena, rows: k, columns: n), Panels<Element>(arena, rows: k, columns: n))
        first.pack(b)
        second.packTransposed(transposed)
        let c = arena.matrix(m, n)
        multiply(a, first, into: c, accumulating: false)
        multiply(a, second, into: c, accumulating: true)
        for i in 0..<m {
            for j in 0..<n {
                var sum = 0.0
                for l in 0..<k {
                    sum += Double(a[i, l].float) * (Double(b[l, j].float) + Double(transposed[j, l].float))
                }
                #expect(abs(Double(c[i, j]) - sum) < tolerance * Double(k))
            }
        }
    }

    /// What is beyond the matrix becomes 0.
    @Test(arguments: [(1, 1), (16, 16), (33, 47), (64, 20), (95, 130)]) func transposes(rows: Int, columns: Int) {
        func check<Element: ActivationElement>(_: Element.Type) {
            let arena = Arena(byteCount: 1 << 20)
            let (x, y) = (
                arena.matrix(rows, columns + 3, of: Element.self).columns(3..<columns + 3),
                arena.matrix(columns, rows + 7, of: Element.self)
            )
            for i in 0..<rows { for j in 0..<columns { x[i, j] = Element(Float(1 + i * columns + j) / 128) } }
            for i in 0..<y.count { y.base[i] = Element(-1) }
            x.copyTransposed(to: y)
            for j in 0..<columns {
                for i in 0..<rows + 7 { #expect(y[j, i].float == (i < rows ? x[i, j].float : 0)) }
            }
        }
        check(Float.self)
        check(BFloat16.self)
    }

    /// Whole panels, and rows of a single one, are operands where they lie.
    @Test func parts() {
        let arena = Arena(byteCount: 1 << 22)
        let b = arena.matrix(96, 192)
        var random = Random(seed: 5, stream: "panels")
        for i in 0..<b.count { b.base[i] = Float(random.normalPair().0) }
        let panels = Panels<Float>(arena, rows: 96, columns: 192)
        panels.pack(b)
        let (one, c) = (arena.matrix(1, 32), arena.matrix(1, 64))
        for l in 0..<32 { one.base[l] = 1 }
        multiply(one, panels.columns(64..<128).rows(32..<64), into: c, accumulating: false)
        for j in 0..<64 {
            let sum = (32..<64).reduce(0.0) { $0 + Double(b[$1, 64 + j]) }
            #expect(abs(Double(c[0, j]) - sum) < 1e-4)
        }
    }
}
