// The backward pass of CausalSelfAttention.
//
// A tile has up to 512 keys as rows and 64 queries as columns: P' and dS' come out as dV and dK want them, LSE and D
// stand beside each other in lanes. dQ wants dS, whose tile is transposed in registers.
//
// A head is cut into parts of 512 positions. A task is a part of keys and one of queries, and adds to dK and dV of the
// first, dQ of the second. The tasks of a diagonal (query part = key part + s) have neither in common, so they run side
// by side, and diagonals one after another.

import TensorCore

extension CausalSelfAttention {
    /// What `backward` takes of an arena.
    package struct BackwardScratch<Element: ActivationElement> {
        fileprivate let keys, values: Matrix<Element>
        /// K, Q, dO: T x d.
        fileprivate let keyPanels, queryPanels, gradientPanels: Panels<Element>
        /// Qᵀ, dOᵀ: d x T.
        fileprivate let queries, gradients: Panels<Element>
        fileprivate let dq, dk, dv: Sums
        /// -LSE and D.
        fileprivate let shifts, dots: UnsafeMutablePointer<Float>

        package init(_ arena: Arena, _ attention: CausalSelfAttention) {
            let (length, headDim) = (attention.paddedLength, attention.headDim)
            keys = arena.matrix(length, headDim, of: Element.self)
            values = arena.matrix(length, headDim, of: Element.self)
            keyPanels = Panels(arena, rows: length, columns: headDim)
            queryPanels = Panels(arena, rows: length, columns: headDim)
            gradientPanels = Panels(arena, rows: length, columns: headDim)
            queries = Panels(arena, rows: headDim, columns: length)
            gradients = Panels(arena, rows: headDim, columns: length)
            dq = Sums(arena, attention, rows: length)
            dk = Sums(arena, attention, rows: length)
            dv = Sums(arena, attention, rows: length)
            shifts = arena.array(length, of: Float.self)
            dots = arena.array(length, of: Float.self)
        }
    }

    /// A tile's numbers: keys x queries, dS also queries x keys.
    struct BackwardTile<Element: ActivationElement> {
        fileprivate let scores, dp: Matrix<Float>
        fileprivate let p, ds, dsTransposed: Matrix<Element>

        init(_ arena: Arena) {
            scores = arena.matrix(partSize, queryTile)
            dp = arena.matrix(partSize, queryTile)
            p = Element.operand(scores, storage: arena.matrix(partSize, queryTile, of: Element.self))
            ds = Element.operand(dp, storage: arena.matrix(partSize, queryTile, of: Element.self))
            dsTransposed = arena.matrix(queryTile, partSize, of: Element.self)
        }
    }

    /// A task, as forward. Replaces q, k and v of its heads by their gradients.
    @_specialize(where Element == Float)
    @_specialize(where Element == BFloat16)
    package func backward<Element: ActivationElement>(
        task: Int, q: Matrix<Element>, k: Matrix<Element>, v: Matrix<Element>, output: Matrix<Element>,
        doutput: Matrix<Element>, lse: UnsafePointer<Float>, _ workers: Workers, arena: Arena
    ) {
        let (sequence, group) = task.quotientAndRemainder(dividingBy: keyValueHeads)
        let (k, v) = (slice(k, sequence, group), slice(v, sequence, group))
        let packed = BackwardScratch<Element>(arena, self)
        forEachPart(workers) { part in
            let (k, v) = (k.rows(real(part)), v.rows(real(part)))
            k.prefetch()
            v.prefetch()
            copyDense(k, to: packed.keys.rows(part))
            copyDense(v, to: packed.values.rows(part))
            packed.keyPanels.pack(k, rows: part)
            for sums in [packed.dk, packed.dv] { clear(sums, part) }
        }
        for head in group * headsPerGroup..<(group + 1) * headsPerGroup {
            let (q, output) = (slice(q, sequence, head), slice(output, sequence, head))
            let doutput = slice(doutput, sequence, head)
            let lse = lse + (sequence * heads + head) * length
            forEachPart(workers) { part in
                let rows = real(part)
                for x in [q, doutput, output] { x.rows(rows).prefetch() }
                packed.queryPanels.pack(q.rows(rows), rows: part)
                packed.gradientPanels.pack(doutput.rows(rows), rows: part)
                packed.queries.columns(part).packTransposed(q.rows(rows))
                packed.gradients.columns(part).packTransposed(doutput.rows(rows))
                for row in part {
                    let isReal = row < length
                    packed.shifts[row] = isReal ? -lse[row] : 0
                    packed.dots[row] = isReal ? dot(output.row(row), doutput.row(row)) : 0
                }
                clear(packed.dq, part)
            }
            for diagonal in 0..<partCount {
                workers.pool.forEach(partCount - diagonal, phase: "diagonal") { index, worker in
                    let tile = BackwardTile<Element>(workers.tiles.arena(of: worker))
                    let (keys, queries) = (part(index), part(index + diagonal))
                    for query in stride(from: queries.lowerBound, to: queries.upperBound, by: Self.queryTile) {
                        let end = min(keys.upperBound, query + Self.queryTile)
                        backward(keys.lowerBound..<end, query, packed, tile)
                    }
                }
            }
            forEachPart(workers) { part in store(packed.dq, part, into: q) }
        }
        forEachPart(workers) { part in
            store(packed.dk, part, into: k)
            store(packed.dv, part, into: v)
        }
    }

    private func forEachPart(_ workers: Workers, _ body: (_ part: Range<Int>) -> Void) {
        workers.pool.forEach(partCount, phase: "packing") { index, _ in body(part(index)) }
    }

    /// Adds what these keys and 64 queries give to the gradients of all of them.
    private func backward<Element: ActivationElement>(
        _ keys: Range<Int>, _ query: Int, _ packed: BackwardScratch<Element>, _ tile: BackwardTile<Element>
    ) {
        let (rows, queries) = (0..<keys.count, query..<query + Self.queryTile)
        let (scores, dp, p, ds) = (tile.scores.rows(rows), tile.dp.rows(rows), tile.p.rows(rows), tile.ds.rows(rows))
        let dsTransposed = Matrix(
            tile.dsTransposed.base, rows: Self.queryTile, columns: keys.count, stride: keys.count)
        multiply(packed.keys.rows(keys), packed.queries.columns(queries), into: scores, accumulating: false)
        multiply(packed.values.rows(keys), packed.gradients.columns(queries), into: dp, accumulating: false)
        scoreGradients(
            tile, into: dsTransposed, diagonal: keys.upperBound == queries.upperBound ? query - keys.lowerBound : nil,
            keys.count, packed.shifts + query, packed.dots + query)
        for panel in panels {
            let columns = columns(panel)
            multiply(
                p, packed.gradientPanels.panel(at: panel).rows(queries), into: packed.dv.panel(columns, rows: keys),
                accumulating: true)
            multiply(
                ds, packed.queryPanels.panel(at: panel).rows(queries), into: packed.dk.panel(columns, rows: keys),
                accumulating: true)
            multiply(
                dsTransposed, packed.keyPanels.panel(at: panel).rows(keys),
                into: packed.dq.panel(columns, rows: queries), accumulating: true)
        }
    }

    /// P and dS of the tile's scores and dP. From row `diagonal` on, a key is seen by the queries from its own on.
    private func scoreGradients<Element: ActivationElement>(
        _ tile: BackwardTile<Element>, into transposed: Matrix<Element>, diagonal: Int?, _ keys: Int,
        _ shifts: UnsafePointer<Float>, _ dots: UnsafePointer<Float>
    ) {
        let (scale, factor) = (Lanes(repeating: scale), Lanes(repeating: binaryScale))
        let diagonal = diagonal ?? keys
        withUnsafeTemporaryAllocation(of: Lanes.self, capacity: laneCount) { square in
            for column in stride(from: 0, to: Self.queryTile, by: laneCount) {
                let (shift, dots) = (Float.load(shifts + column), Float.load(dots + column))
                let queries = Lanes(indices: Float(column))
                for firstRow in stride(from: 0, to: keys, by: laneCount) {
                    for i in 0..<laneCount {
                        let row = firstRow + i
                        var p = exp2(Float.load(tile.scores.row(row) + column) * factor + shift)
                        if row >= diagonal { p = p.zeroed(where: queries, isBelow: Float(row - diagonal)) }
                        let ds = p * (Float.load(tile.dp.row(row) + column) - dots) * scale
                        Element.store(p, tile.p.row(row) + column)
                        Element.store(ds, tile.ds.row(row) + column)
                        square[i] = ds
                    }
                    transpose(square.baseAddress!)
                    for i in 0..<laneCount { Element.store(square[i], transposed.row(column + i) + firstRow) }
                }
            }
        }
    }

    private func store<Element: ActivationElement>(_ sums: Sums, _ part: Range<Int>, into x: Matrix<Element>) {
        x.rows(real(part)).prefetch()
        for panel in panels {
            copy(sums.panel(columns(panel), rows: real(part)), to: x.rows(real(part)).columns(columns(panel)))
        }
    }

    private func dot<Element: TensorElement>(_ a: UnsafePointer<Element>, _ b: UnsafePointer<Element>) -> Float {
        var sums = Lanes.zero
        forEachLanes(headDim) { j, n in
            sums = Element.load(a + j, count: n).multiplyAdd(Element.load(b + j, count: n), sums)
        }
        return sums.laneSum
    }
}
