/// `NewtonSchulz` in bfloat16:
///
///     A = X Xᵀ ;  P = bA + cA A ;  X <- aX + P X        (for tall X: A = Xᵀ X, X P)
///
/// each summed in float32 and rounded once. A and P are symmetric: only blocks on and above the
/// diagonal are computed, and mirrored, so that both are symmetric to the bit.
public struct BFloat16NewtonSchulz {
    /// a, b, c.
    let coefficients: SIMD3<Float>
    let steps: Int

    /// The order of the blocks. Smaller ones save more of the product, and take longer for the rest.
    private static let blockOrder = 256

    public struct Scratch {
        fileprivate let x: Matrix<BFloat16>
        fileprivate let next: Matrix<BFloat16>
        fileprivate let gram: Matrix<BFloat16>
        fileprivate let polynomial: Matrix<BFloat16>
        /// One block of a product, in cache until it is rounded.
        fileprivate let block: UnsafeMutablePointer<Float>

        init(_ arena: Arena, rows: Int, columns: Int) {
            let order = min(rows, columns)
            x = arena.matrix(rows, columns, of: BFloat16.self)
            next = arena.matrix(rows, columns, of: BFloat16.self)
            gram = arena.matrix(order, order, of: BFloat16.self)
            polynomial = arena.matrix(order, order, of: BFloat16.self)
            block = arena.array(blockOrder * blockOrder, of: Float.self)
        }
    }

    /// Orthogonalizes `x` in place.
    func orthogonalize(_ x: Matrix<Float>, _ scratch: Scratch) {
        let (gram, polynomial) = (scratch.gram, scratch.polynomial)
        var (current, next) = (scratch.x, scratch.next)
        let isTall = x.rows > x.columns
        let (b, c) = (Lanes(repeating: coefficients.y), Lanes(repeating: coefficients.z))

        // The references round before they take the norm; at this norm's precision that is no matter.
        let norm = Lanes(repeating: Float(x.frobeniusNorm) + NewtonSchulz.eps)
        x.apply { $0 / norm }
        copy(x, to: current)
        for _ in 0..<steps {
            symmetricProduct(isTall ? current.transposed : current.plain, into: gram, scratch) { product, _ in product }
            symmetricProduct(gram.plain, into: polynomial, scratch) { product, place in
                BFloat16.load(gram.base + place.offset, count: place.count).multiplyAdd(b, product * c)
            }
            next.base.update(from: current.base, count: current.count)
            if isTall {
                BFloat16.product(current.plain, polynomial.plain, into: next, beta: coefficients.x)
            } else {
                BFloat16.product(polynomial.plain, current.plain, into: next, beta: coefficients.x)
            }
            swap(&current, &next)
        }
        for row in 0..<x.rows {
            forEachLanes(x.columns) { column, count in
                Float.store(BFloat16.load(current.row(row) + column, count: count), x.row(row) + column, count: count)
            }
        }
    }

    /// c = f(a aᵀ), f elementwise; it is told where in c its lanes stand.
    @inline(__always)
    private func symmetricProduct(
        _ a: Operand<BFloat16>, into c: Matrix<BFloat16>, _ scratch: Scratch,
        _ f: (Lanes, _ place: (offset: Int, count: Int)) -> Lanes
    ) {
        let blocks = stride(from: 0, to: c.rows, by: Self.blockOrder).map { $0..<min($0 + Self.blockOrder, c.rows) }
        for (index, rows) in blocks.enumerated() {
            for columns in blocks[index...] {
                let block = Matrix(scratch.block, rows: rows.count, columns: columns.count, stride: columns.count)
                BFloat16.product(a.rows(rows), a.rows(columns).transposed, into: block, accumulating: false)
                for row in 0..<rows.count {
                    let start = (rows.lowerBound + row) * c.stride + columns.lowerBound
                    forEachLanes(columns.count) { column, count in
                        let lanes = f(Float.load(block.row(row) + column, count: count), (start + column, count))
                        BFloat16.store(lanes, c.base + start + column, count: count)
                    }
                }
            }
        }
        c.mirrorUpperTriangle()
    }
}
