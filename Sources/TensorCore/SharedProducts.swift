// Matrix products that idle workers help with: the result is cut into tiles, each with the whole sum, by its shape
// alone. So the bits depend neither on the number of workers nor on who takes which tile. A small product is one
// tile and stays on the calling thread. Each may be called from within a task of the same pool.

/// c = alpha * a b + beta * c, as `multiply(_:_:into:alpha:beta:)`, in tiles.
public func multiply(
    _ a: Operand<Float>, _ b: Operand<Float>, into c: Matrix<Float>, alpha: Float = 1, beta: Float = 0,
    on pool: WorkerPool
) {
    forEachTile(of: c, sum: a.columns, on: pool) { rows, columns in
        multiply(a.rows(rows), b.columns(columns), into: c.rows(rows).columns(columns), alpha: alpha, beta: beta)
    }
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

/// Runs `body` for the tiles of a matrix that sums of `sum` products go into.
func forEachTile<Element>(
    of c: Matrix<Element>, sum: Int, on pool: WorkerPool,
    _ body: (_ rows: Range<Int>, _ columns: Range<Int>) -> Void
) {
    let order = isShared(c.rows * c.columns * sum) ? tileOrder : .max
    let (rows, columns) = (Ranges(c.rows, evenlyAtMost: order), Ranges(c.columns, evenlyAtMost: order))
    pool.forEach(rows.count * columns.count) { tile, _ in
        let (row, column) = tile.quotientAndRemainder(dividingBy: columns.count)
        body(rows[row], columns[column])
    }
}

/// The same for the tiles on and above the diagonal of a square matrix.
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
