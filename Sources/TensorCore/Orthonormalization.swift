/// Orthonormalization of the rows of a matrix: the reduced QR of its transpose, by Householder reflections.
///
/// They are made in blocks of 128 rows, H = I - Vᵀ T V (Schreiber and Van Loan 1989), within a block by leaves of 32,
/// and applied to other rows C as two products, C <- C - (C Vᵀ) (T V). For these all rows lie in memory by strips of 128
/// columns: nothing that a product reads or writes has gaps, and what all rows share is packed once a block. (LAPACK's
/// `sgeqrt` and `slarfb`, whose products copy C at each call, reach half of the speed.)
///
/// **Numerics.** Signs are as reflections leave them, the same as LAPACK's. The rows come out orthonormal even where
/// they depended on each other.
///
/// **Cost.** 4 rows² columns FLOPs, a third less for a square.
public struct OrthonormalizationScratch {
    /// As many floats as the rows have. Free for other uses between calls.
    public let result: UnsafeMutablePointer<Float>
    /// V of one block, and -T V or -Tᵀ V.
    fileprivate let v, image: UnsafeMutablePointer<Float>
    /// Both as right operands, strip by strip, V transposed.
    fileprivate let packedV, packedImage: UnsafeMutablePointer<Float>
    /// Tᵀ of every block.
    fileprivate let factors: Matrix<Float>
    /// H = I - tau v vᵀ, for the rows of one block.
    fileprivate let taus: UnsafeMutablePointer<Float>
    /// Tᵀ of a leaf, and products with it.
    fileprivate let leafFactor, leafProduct, leafImage: Matrix<Float>

    /// The rows of a block and the columns of a strip.
    fileprivate static let order = 128
    fileprivate static let leafOrder = 32
    /// What packed operands of a strip take.
    fileprivate static let packedCount = Panels<Float>.count(rows: order, columns: order)

    public init(_ arena: Arena, rows: Int, columns: Int) {
        let order = min(Self.order, rows)
        let strips = ranges(of: columns, size: Self.order).count
        result = arena.array(rows * columns, of: Float.self)
        (v, image) = (arena.array(order * columns, of: Float.self), arena.array(order * columns, of: Float.self))
        packedV = arena.array(strips * Self.packedCount, of: Float.self)
        packedImage = arena.array(strips * Self.packedCount, of: Float.self)
        factors = arena.matrix(rows, order)
        taus = arena.array(order, of: Float.self)
        leafFactor = arena.matrix(Self.leafOrder, Self.leafOrder)
        (leafProduct, leafImage) = (arena.matrix(order, Self.leafOrder), arena.matrix(order, Self.leafOrder))
    }
}

/// Replaces the rows of `a` (rows <= columns) by an orthonormal basis: the i-th new row lies in the span of the first i
/// old ones. Idle workers of `pool` help.
///
/// Throws `NumericalFailure` on values that are not finite.
public func orthonormalizeRows(_ a: Matrix<Float>, _ scratch: OrthonormalizationScratch, on pool: WorkerPool) throws {
    require(a.rows <= a.columns, "cannot orthonormalize \(a.rows) rows of length \(a.columns)")
    func requireFinite() throws {
        guard !a.isFinite(on: pool) else { return }
        throw NumericalFailure("the QR factorization met a value that is not finite")
    }
    try requireFinite()
    let reflections = Reflections(rows: a.rows, columns: a.columns, scratch: scratch, pool: pool)
    reflections.forEachStrip { strip, columns in strip.copy(from: a.columns(columns)) }
    let firsts = stride(from: 0, to: a.rows, by: OrthonormalizationScratch.order)
    for first in firsts { reflections.makeBlock(first) }
    for first in firsts.reversed() { reflections.formRows(first) }
    reflections.forEachStrip { strip, columns in a.columns(columns).copy(from: strip) }
    // Finite rows can still overflow within the factorization.
    try requireFinite()
}

/// A factorization in its scratch memory. A block is named by its first row, which is its first column, too.
private struct Reflections {
    let rows: Int
    let columns: Int
    let scratch: OrthonormalizationScratch
    let pool: WorkerPool

    private static let order = OrthonormalizationScratch.order

    /// The columns of each strip.
    private var strips: Ranges { ranges(of: columns, size: Self.order) }

    private func strip(_ index: Int) -> Matrix<Float> {
        let width = strips[index].count
        return Matrix(scratch.result + index * Self.order * rows, rows: rows, columns: width, stride: width)
    }

    func forEachStrip(_ body: (_ strip: Matrix<Float>, _ columns: Range<Int>) -> Void) {
        pool.forEach(strips.count) { index, _ in body(strip(index), strips[index]) }
    }

    /// Makes the reflections of a block, leaves V in its place unless it is the last, and applies them to the rows below.
    func makeBlock(_ first: Int) {
        let (rows, v, factor) = block(first)
        forEachStrip(of: v, first) { part, strip in part.copy(from: strip.rows(rows)) }
        factorize(v)
        makeFactor(v, scratch.taus, into: factor)
        guard rows.upperBound < self.rows else { return }
        forEachStrip(of: v, first) { part, strip in strip.rows(rows).copy(from: part) }
        pack(v, first, factor.transposed)
        let own = first / Self.order
        // What becomes of their own columns is R, which nobody wants.
        apply(v, to: rows.upperBound..<self.rows) { _ in
            (reading: own..<strips.count, writing: own + 1..<strips.count, isSet: { _ in false })
        }
    }

    /// Applies the reflections of a block to the rows of Q from its own on, which later blocks have made; its own are
    /// still those of the identity.
    func formRows(_ first: Int) {
        let (rows, v, factor) = block(first)
        // V of the last block is still there.
        if rows.upperBound < self.rows {
            forEachStrip(of: v, first) { part, strip in part.copy(from: strip.rows(rows)) }
        }
        pack(v, first, factor.plain)
        let own = first / Self.order
        let identity = strip(own)
        for row in rows {
            identity.row(row).update(repeating: 0, count: identity.columns)
            identity[row, row - first] = 1
        }
        apply(v, to: first..<self.rows) { row in
            let isOwn = row < rows.upperBound
            // Where a row is still 0.
            return (
                reading: isOwn ? own..<own + 1 : own + 1..<strips.count, writing: own..<strips.count,
                isSet: { ($0 == own) != isOwn }
            )
        }
    }

    /// The rows of a block, with room for its V, from its first column on, and for Tᵀ.
    private func block(_ first: Int) -> (rows: Range<Int>, v: Matrix<Float>, factor: Matrix<Float>) {
        let rows = first..<min(first + Self.order, rows)
        let width = columns - first
        return (
            rows, Matrix(scratch.v, rows: rows.count, columns: width, stride: width),
            scratch.factors.rows(rows).columns(0..<rows.count)
        )
    }

    /// The strips that a block has part in, and the part.
    private func forEachStrip(
        of block: Matrix<Float>, _ first: Int, _ body: (_ part: Matrix<Float>, _ strip: Matrix<Float>) -> Void
    ) {
        let own = first / Self.order
        pool.forEach(strips.count - own) { index, _ in
            let columns = strips[own + index]
            body(block.columns(columns.lowerBound - first..<columns.upperBound - first), strip(own + index))
        }
    }

    /// V and -`factor` V as right operands.
    private func pack(_ v: Matrix<Float>, _ first: Int, _ factor: Operand<Float>) {
        let image = Matrix(scratch.image, rows: v.rows, columns: v.columns, stride: v.columns)
        multiply(factor, v.plain, into: image, alpha: -1, on: pool)
        ranges(of: v.columns, size: Self.order).forEach(on: pool) { columns in
            let (packedV, packedImage) = panels((first + columns.lowerBound) / Self.order, v)
            packedV.packTransposed(v.columns(columns))
            packedImage.pack(image.columns(columns))
        }
    }

    private func panels(_ strip: Int, _ v: Matrix<Float>) -> (v: Panels<Float>, image: Panels<Float>) {
        let (offset, width) = (strip * OrthonormalizationScratch.packedCount, strips[strip].count)
        return (
            Panels(scratch.packedV + offset, rows: width, columns: v.rows),
            Panels(scratch.packedImage + offset, rows: v.rows, columns: width)
        )
    }

    /// C <- C - (C Vᵀ) (T V) for some rows, by what is packed; `plan` says which strips of a row are read, which are
    /// written, and which of these are set in place of added to.
    private func apply(
        _ v: Matrix<Float>, to rows: Range<Int>,
        _ plan: (_ row: Int) -> (reading: Range<Int>, writing: Range<Int>, isSet: (Int) -> Bool)
    ) {
        let tiles = ranges(of: rows.count, size: 64)
        pool.forEach(tiles.count) { index, worker in
            let tile = rows.lowerBound + tiles[index].lowerBound..<rows.lowerBound + tiles[index].upperBound
            let product = Matrix(pool.tile(of: worker), rows: tile.count, columns: v.rows, stride: v.rows)
            let (reading, writing, isSet) = plan(tile.lowerBound)
            for strip in reading {
                multiply(
                    self.strip(strip).rows(tile), panels(strip, v).v, into: product,
                    accumulating: strip > reading.lowerBound)
            }
            for strip in writing {
                multiply(
                    product, panels(strip, v).image, into: self.strip(strip).rows(tile), accumulating: !isSet(strip))
            }
        }
    }

    /// Replaces the rows of a block by V.
    private func factorize(_ v: Matrix<Float>) {
        for leaf in ranges(of: v.rows, size: OrthonormalizationScratch.leafOrder) {
            for row in leaf {
                let tau = makeReflection(v.row(row), row, v.columns)
                scratch.taus[row] = tau
                for other in row + 1..<leaf.upperBound where tau != 0 {
                    reflect(v.row(other), by: v.row(row), tau, v.columns)
                }
            }
            guard leaf.upperBound < v.rows else { return }
            let made = v.rows(leaf).columns(leaf.lowerBound..<v.columns)
            let rest = v.rows(leaf.upperBound..<v.rows).columns(leaf.lowerBound..<v.columns)
            makeFactor(made, scratch.taus + leaf.lowerBound, into: scratch.leafFactor)
            let (product, image) = (scratch.leafProduct.rows(0..<rest.rows), scratch.leafImage.rows(0..<rest.rows))
            multiply(rest.plain, made.transposed, into: product)
            multiply(product.plain, scratch.leafFactor.transposed, into: image)
            multiply(image.plain, made.plain, into: rest, alpha: -1, beta: 1)
        }
    }

    /// Replaces a row, from its `pivot` on, by v with v[pivot] = 1 and returns tau.
    private func makeReflection(_ row: UnsafeMutablePointer<Float>, _ pivot: Int, _ count: Int) -> Float {
        let (alpha, rest) = (Double(row[pivot]), row + pivot + 1)
        row.update(repeating: 0, count: pivot)
        row[pivot] = 1
        let sum = sumOfSquares(rest, count: count - pivot - 1)
        guard sum != 0 else { return 0 }
        let norm = (alpha * alpha + sum).squareRoot()
        let beta = alpha.sign == .minus ? norm : -norm
        // In double precision, since 1 / (alpha - beta) may be beyond float's range.
        let factor = 1 / (alpha - beta)
        for index in 0..<count - pivot - 1 { rest[index] = Float(Double(rest[index]) * factor) }
        return Float((beta - alpha) / beta)
    }

    /// row <- row - tau (row v) v
    private func reflect(
        _ row: UnsafeMutablePointer<Float>, by v: UnsafePointer<Float>, _ tau: Float, _ count: Int
    ) {
        var (a, b, c, d) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        let whole = count & ~(4 * laneCount - 1)
        for offset in stride(from: 0, to: whole, by: 4 * laneCount) {
            let (row, v) = (row + offset, v + offset)
            a = Float.load(row).multiplyAdd(Float.load(v), a)
            b = Float.load(row + laneCount).multiplyAdd(Float.load(v + laneCount), b)
            c = Float.load(row + 2 * laneCount).multiplyAdd(Float.load(v + 2 * laneCount), c)
            d = Float.load(row + 3 * laneCount).multiplyAdd(Float.load(v + 3 * laneCount), d)
        }
        forEachLanes(count - whole) { offset, count in
            a = Float.load(row + whole + offset, count: count)
                .multiplyAdd(Float.load(v + whole + offset, count: count), a)
        }
        let factor = Lanes(repeating: -tau * ((a + b) + (c + d)).laneSum)
        forEachLanes(count) { offset, count in
            let new = Float.load(v + offset, count: count).multiplyAdd(factor, Float.load(row + offset, count: count))
            Float.store(new, row + offset, count: count)
        }
    }

    /// Tᵀ of the product of reflections: row j is -tau_j (v_j Vᵀ) Tᵀ of those before it, then tau_j.
    private func makeFactor(_ v: Matrix<Float>, _ taus: UnsafePointer<Float>, into factor: Matrix<Float>) {
        multiplyByOwnTranspose(v.plain, into: factor, on: pool)
        for row in 0..<v.rows {
            let target = factor.row(row)
            let tau = Lanes(repeating: -taus[row])
            forEachLanes(row) { first, count in
                var sum = Lanes.zero
                // What is read of the row itself lies at and beyond `first`.
                for other in first..<row {
                    sum = Float.load(factor.row(other) + first, count: count)
                        .multiplyAdd(Lanes(repeating: target[other]), sum)
                }
                Float.store(sum * tau, target + first, count: count)
            }
            target[row] = taus[row]
            (target + row + 1).update(repeating: 0, count: v.rows - row - 1)
        }
    }
}
