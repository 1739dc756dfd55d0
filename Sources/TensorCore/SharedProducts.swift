// Matrix products that idle workers help with: the result is cut into tiles, each with the whole sum, by its shape
// alone. So the bits depend neither on the number of workers nor on who takes which tile. A small product is one
// tile and stays on the calling thread. Each may be called from within a task of the same pool.

/// c = alpha * a b + beta * c, as `multiply(_:_:into:alpha:beta:)`, in tiles.
public func multiply(
    _ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>, alpha: Float = 1, beta: Float = 0,
    on pool: WorkerPool
) {
    let tiles = Tiles(of: c, sum: a.columns)
    pool.forEach(tiles.count) { tile, _ in
        let (rows, columns) = tiles[tile]
        multiply(a.rows(rows), b.columns(columns), into: c.rows(rows).columns(columns), alpha: alpha, beta: beta)
    }
}

/// The same, and the Frobenius norm of c, summed while tiles are in cache.
public func multiplyTakingNorm(
    _ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>, alpha: Float = 1, beta: Float = 0,
    on pool: WorkerPool
) -> Double {
    let tiles = Tiles(of: c, sum: a.columns)
    return ranges(of: tiles.count, size: 1).sum(on: pool) { tile in
        let (rows, columns) = tiles[tile.lowerBound]
        let part = c.rows(rows).columns(columns)
        multiply(a.rows(rows), b.columns(columns), into: part, alpha: alpha, beta: beta)
        return part.sumOfSquareRows
    }.squareRoot()
}

/// c = a b, or with `accumulating` c += a b, for some rows and a weight: by columns, or by rows where the weight is
/// packed.
public func multiply<Element: ActivationElement>(
    _ a: Operand<Element>, _ b: Operand<Element>, into c: Matrix<Float>, accumulating: Bool, on pool: WorkerPool
) {
    forEachPanel(of: c, isPacked: b.isPacked, on: pool) { rows, columns in
        multiply(
            rows.map(a.rows) ?? a, columns.map(b.columns) ?? b,
            into: rows.map(c.rows) ?? columns.map(c.columns) ?? c, accumulating: accumulating)
    }
}

/// The same, rounded once.
public func multiply<Element: ActivationElement>(
    _ a: Operand<Element>, _ b: Operand<Element>, into c: Matrix<Element>, on pool: WorkerPool
) {
    forEachPanel(of: c, isPacked: b.isPacked, on: pool) { rows, columns in
        multiply(
            rows.map(a.rows) ?? a, columns.map(b.columns) ?? b,
            into: rows.map(c.rows) ?? columns.map(c.columns) ?? c)
    }
}

/// Some rows, or some columns, of a product with a weight. Where it is packed, few rows cost no more than many.
private func forEachPanel<Element>(
    of c: Matrix<Element>, isPacked: Bool, on pool: WorkerPool,
    _ body: (_ rows: Range<Int>?, _ columns: Range<Int>?) -> Void
) {
    let panels = isPacked ? Ranges(c.rows, evenlyAtMost: 64) : Ranges(c.columns, evenlyAtMost: 512)
    if panels.count <= 1 { return body(nil, nil) }
    pool.forEach(panels.count) { panel, _ in
        body(isPacked ? panels[panel] : nil, isPacked ? nil : panels[panel])
    }
}

/// c = a b, with b packed once, in `right`, and a transposed a brought to rows, in `left`, where packed operands are
/// faster: tiles, which each copy both of their operands, take a fifth longer.
public func multiply(
    _ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>, packing right: UnsafeMutablePointer<Float>,
    transposing left: UnsafeMutablePointer<Float>? = nil, on pool: WorkerPool
) {
    guard Float.packsWeights, isShared(c.count * b.rows), !a.isTransposed || left != nil else {
        return multiply(a, b, into: c, on: pool)
    }
    let packed = Panels(right, rows: b.rows, columns: b.columns)
    ranges(of: b.columns, size: packedPanel).forEach(on: pool) { columns in
        let panel = packed.panel(at: columns.lowerBound)
        if b.isTransposed {
            panel.packTransposed(b.matrix.rows(columns))
        } else {
            panel.pack(b.matrix.columns(columns))
        }
    }
    var rows = a.matrix
    if a.isTransposed, let left {
        rows = Matrix(left, rows: a.rows, columns: a.columns, stride: a.columns)
        ranges(of: a.columns, size: 2 * laneCount).forEach(on: pool) {
            a.matrix.rows($0).copyTransposed(to: rows.columns($0))
        }
    }
    Ranges(c.rows, evenlyAtMost: 128).forEach(on: pool) {
        multiply(rows.rows($0), packed, into: c.rows($0), accumulating: false)
    }
}

/// c = alpha * a aᵀ + beta * c, as `multiplyByOwnTranspose(_:into:alpha:beta:)`, in tiles: those on and above the
/// diagonal are computed, and mirrored.
public func multiplyByOwnTranspose(
    _ a: Operand<Float>, into c: Matrix<Float>, alpha: Float = 1, beta: Float = 0, on pool: WorkerPool
) {
    forEachTileOfUpperTriangle(order: c.rows, sum: a.columns, on: pool) { rows, columns in
        let tile = c.rows(rows).columns(columns)
        guard rows != columns else {
            return multiplyByOwnTranspose(a.rows(rows), into: tile, alpha: alpha, beta: beta)
        }
        multiply(a.rows(rows), a.rows(columns).transposed, into: tile, alpha: alpha, beta: beta)
        tile.copyTransposed(to: c.rows(columns).columns(rows))
    }
}

/// The tiles of a matrix that sums of `sum` products go into, row by row.
private struct Tiles {
    let rows, columns: Ranges

    init<Element>(of c: Matrix<Element>, sum: Int) {
        let order = isShared(c.rows * c.columns * sum) ? tileOrder : .max
        (rows, columns) = (Ranges(c.rows, evenlyAtMost: order), Ranges(c.columns, evenlyAtMost: order))
    }

    var count: Int { rows.count * columns.count }
    subscript(index: Int) -> (rows: Range<Int>, columns: Range<Int>) {
        (rows[index / columns.count], columns[index % columns.count])
    }
}

/// Runs `body` for the tiles on and above the diagonal of a square matrix.
func forEachTileOfUpperTriangle(
    order: Int, sum: Int, on pool: WorkerPool,
    _ body: (_ rows: Range<Int>, _ columns: Range<Int>) -> Void
) {
    let tiles = Ranges(order, evenlyAtMost: isShared(order * order * sum / 2) ? tileOrder : .max)
    pool.forEach(tiles.count * (tiles.count + 1) / 2) { tile, _ in
        var (row, column) = (0, tile)
        while column >= tiles.count - row {
            column -= tiles.count - row
            row += 1
        }
        body(tiles[row], tiles[row + column])
    }
}

/// The most rows and columns of a tile: large enough for products near their full speed.
let tileOrder = 256

/// Whether a product of so many multiplications is worth handing over: some 30 microseconds on one thread.
private func isShared(_ multiplications: Int) -> Bool { multiplications > 1 << 21 }
