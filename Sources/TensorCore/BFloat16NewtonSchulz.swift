/// `NewtonSchulz` in bfloat16:
///
///     A = X Xᵀ ;  P = bA + cA A ;  X <- aX + P X        (for tall X: A = Xᵀ X, X P)
///
/// each summed in float32 and rounded once. A and P are symmetric: only tiles on and above the
/// diagonal are computed, and mirrored, so that both are symmetric to the bit.
public struct BFloat16NewtonSchulz {
    /// a, b, c.
    let coefficients: SIMD3<Float>
    let steps: Int

    public struct Scratch {
        fileprivate let x: Matrix<BFloat16>
        fileprivate let next: Matrix<BFloat16>
        fileprivate let gram: Matrix<BFloat16>
        fileprivate let polynomial: Matrix<BFloat16>

        init(_ arena: Arena, rows: Int, columns: Int) {
            let order = min(rows, columns)
            x = arena.matrix(rows, columns, of: BFloat16.self)
            next = arena.matrix(rows, columns, of: BFloat16.self)
            gram = arena.matrix(order, order, of: BFloat16.self)
            polynomial = arena.matrix(order, order, of: BFloat16.self)
        }
    }

    func orthogonalize(_ x: Matrix<Float>, _ scratch: Scratch, on pool: WorkerPool) {
        let (gram, polynomial) = (scratch.gram, scratch.polynomial)
        var (current, next) = (scratch.x, scratch.next)
        let isTall = x.rows > x.columns
        let (b, c) = (Lanes(repeating: coefficients.y), Lanes(repeating: coefficients.z))

        // The references round before they take the norm; at this norm's precision that is no matter.
        let norm = Lanes(repeating: Float(x.frobeniusNorm(on: pool)) + NewtonSchulz.eps)
        x.rowTiles.forEach(on: pool) { rows in
            x.rows(rows).apply { $0 / norm }
            copy(x.rows(rows), to: current.rows(rows))
        }
        for _ in 0..<steps {
            symmetricProduct(isTall ? current.transposed : current.plain, into: gram, pool) { product, _ in product }
            symmetricProduct(gram.plain, into: polynomial, pool) { product, place in
                BFloat16.load(gram.base + place.offset, count: place.count).multiplyAdd(b, product * c)
            }
            x.rowTiles.forEach(on: pool) { rows in
                next.row(rows.lowerBound).update(
                    from: current.row(rows.lowerBound), count: rows.count * current.columns)
            }
            if isTall {
                BFloat16.product(current.plain, polynomial.plain, into: next, beta: coefficients.x, on: pool)
            } else {
                BFloat16.product(polynomial.plain, current.plain, into: next, beta: coefficients.x, on: pool)
            }
            swap(&current, &next)
        }
        x.rowTiles.forEach(on: pool) { rows in
            for row in rows {
                forEachLanes(x.columns) { column, count in
                    let lanes = BFloat16.load(current.row(row) + column, count: count)
                    Float.store(lanes, x.row(row) + column, count: count)
                }
            }
        }
    }

    /// c = f(a aᵀ), f elementwise; it is told where in c its lanes stand.
    @inline(__always)
    private func symmetricProduct(
        _ a: Operand<BFloat16>, into c: Matrix<BFloat16>, _ pool: WorkerPool,
        _ f: (Lanes, _ place: (offset: Int, count: Int)) -> Lanes
    ) {
        forEachTileOfUpperTriangle(order: c.rows, sum: a.columns, on: pool) { rows, columns, worker in
            require(rows.count * columns.count <= tileOrder * tileOrder, "a tile of \(rows.count)x\(columns.count)")
            let sums = Matrix(
                pool.tile(of: worker), rows: rows.count, columns: columns.count, stride: columns.count)
            BFloat16.product(a.rows(rows), a.rows(columns).transposed, into: sums, accumulating: false)
            for row in 0..<rows.count {
                let start = (rows.lowerBound + row) * c.stride + columns.lowerBound
                forEachLanes(columns.count) { column, count in
                    let lanes = f(Float.load(sums.row(row) + column, count: count), (start + column, count))
                    BFloat16.store(lanes, c.base + start + column, count: count)
                }
            }
            let tile = c.rows(rows).columns(columns)
            if rows == columns {
                tile.mirrorUpperTriangle()
            } else {
                tile.copyTransposed(to: c.rows(columns).columns(rows))
            }
        }
    }
}
