// Causal self-attention with grouped key/value heads (Vaswani et al. 2017; Ainslie et al. 2023), tiled over queries and
// keys (FlashAttention-2, Dao 2023).
//
//     forward    P = softmax(Q K' / sqrt(d) + causal mask),   O = P V           for each head
//     backward   dV = P' dO,   dP = dO V',   D_i = sum_j dO_ij O_ij
//                dS = P (dP - D) / sqrt(d),   dQ = dS K,   dK = dS' Q
//
// q: [tokens, heads * d]; k, v: [tokens, kv heads * d]; a head is a strided slice of its matrix.
// Query head h reads key/value head h / (heads / kv heads).
//
// Scores exist for one tile of 64 queries and some hundred keys at a time, in the second-level cache. The forward pass
// keeps a running maximum and sum of each row, and corrects what it has of O when the maximum grows. It leaves each
// row's log-sum-exp, LSE, from which the backward pass rebuilds P. What the mask would hide is not computed, but for
// the tiles on the diagonal.
// Keys and values (backward queries and dO, too) are packed once a head, so that all products are of a handful of
// shapes, and none copies an operand. Lengths are padded to a multiple of 64: a padded key is masked, a padded query has
// a dO of 0.
// Numerics: scores, softmax and the sums of gradients in float32; P and dS are rounded to the
// activations' type for their products. Each sum has one order, which depends on the shapes alone: over keys forward;
// backward over query tiles for dK and dV, over diagonals of parts for dQ, over query heads.
// Cost: 4 T^2 d FLOPs a head forward and 10 T^2 d backward, about half of which the mask saves.

import Glibc
import TensorCore

/// The attention of sequences of one length: shapes, and the kernels for one head.
package struct CausalSelfAttention {
    package let heads: Int
    let keyValueHeads: Int
    let headDim: Int
    /// Positions in a sequence.
    let length: Int

    package init(_ config: LLaMAConfig, length: Int) {
        heads = config.numAttentionHeads
        keyValueHeads = config.numKeyValueHeads
        headDim = config.headDim
        self.length = length
    }

    static let queryTile = 64
    /// Keys of a tile, and queries or keys of a task within a head: the more, the nearer products run to their full
    /// speed; a tile's numbers stay in the second-level cache.
    static let partSize = 512

    var scale: Float { 1 / Float(headDim).squareRoot() }
    /// scale log2(e): exponents are to base 2, LSE and maxima too.
    var binaryScale: Float { scale * 1.442_695_04 }
    var headsPerGroup: Int { heads / keyValueHeads }
    var paddedLength: Int { rounded(length, to: Self.queryTile) }

    var partCount: Int { (length + Self.partSize - 1) / Self.partSize }
    /// The positions of a part; the last goes to the padded end.
    func part(_ index: Int) -> Range<Int> {
        index * Self.partSize..<min((index + 1) * Self.partSize, paddedLength)
    }
    /// Those of them that there are.
    func real(_ range: Range<Int>) -> Range<Int> { range.clamped(to: 0..<length) }

    /// The columns of a head's panels.
    var panels: StrideTo<Int> { stride(from: 0, to: headDim, by: Panels<Float>.width) }
    func columns(_ panel: Int) -> Range<Int> { panel..<min(panel + Panels<Float>.width, headDim) }

    func slice<Element>(_ x: Matrix<Element>, _ sequence: Int, _ head: Int) -> Matrix<Element> {
        x.rows(sequence * length..<(sequence + 1) * length).columns(head * headDim..<(head + 1) * headDim)
    }

    /// See `forward` and `backward`.
    package func taskCount(_ sequences: Int) -> Int { sequences * keyValueHeads }

    /// Float32 sums for rows of a head, each panel's columns without gaps.
    struct Sums {
        private let values: Matrix<Float>

        init(_ arena: Arena, _ attention: CausalSelfAttention, rows: Int) {
            values = arena.matrix(rows, attention.headDim)
        }

        func panel(_ columns: Range<Int>, rows: Range<Int>) -> Matrix<Float> {
            Matrix(
                values.base + columns.lowerBound * values.rows + rows.lowerBound * columns.count, rows: rows.count,
                columns: columns.count, stride: columns.count)
        }
    }

    /// The workers within a head, each with scratch for one tile.
    package struct Workers {
        let pool: WorkerPool
        let tiles: Workspace

        package init<Element: ActivationElement>(_ pool: WorkerPool, _: Element.Type, _ attention: CausalSelfAttention)
        {
            self.pool = pool
            tiles = Workspace(workers: pool.workerCount) { arena in
                arena.overlaid { _ = ForwardTile<Element>(arena, attention) }
                arena.overlaid { _ = BackwardTile<Element>(arena) }
            }
        }
    }

    // MARK: - Forward

    /// What `forward` takes of an arena: a head's keys and values as right operands.
    package struct ForwardScratch<Element: ActivationElement> {
        /// Kᵀ: d x T.
        fileprivate let keys: Panels<Element>
        /// V: T x d.
        fileprivate let values: Panels<Element>

        package init(_ arena: Arena, _ attention: CausalSelfAttention) {
            keys = Panels(arena, rows: attention.headDim, columns: attention.paddedLength)
            values = Panels(arena, rows: attention.paddedLength, columns: attention.headDim)
        }
    }

    /// 64 query rows on their way over the keys.
    fileprivate struct ForwardTile<Element: ActivationElement> {
        let queries: Matrix<Element>
        let scores: Matrix<Float>
        let probabilities: Matrix<Element>
        let output: Sums
        let maxima, denominators: UnsafeMutablePointer<Float>

        init(_ arena: Arena, _ attention: CausalSelfAttention) {
            queries = arena.matrix(queryTile, attention.headDim, of: Element.self)
            scores = arena.matrix(queryTile, partSize)
            probabilities = arena.matrix(queryTile, partSize, of: Element.self)
            output = Sums(arena, attention, rows: queryTile)
            maxima = arena.array(queryTile, of: Float.self)
            denominators = arena.array(queryTile, of: Float.self)
        }
    }

    /// A task: one key/value head of one sequence, of those that the matrices hold one after another, with all query
    /// heads that read it. Sets one element of `lse` for each sequence, head and position.
    @_specialize(where Element == Float)
    @_specialize(where Element == BFloat16)
    package func forward<Element: ActivationElement>(
        task: Int, q: Matrix<Element>, k: Matrix<Element>, v: Matrix<Element>, into output: Matrix<Element>,
        lse: UnsafeMutablePointer<Float>, _ workers: Workers, arena: Arena
    ) {
        let (sequence, group) = task.quotientAndRemainder(dividingBy: keyValueHeads)
        let (k, v) = (slice(k, sequence, group), slice(v, sequence, group))
        let packed = ForwardScratch<Element>(arena, self)
        workers.pool.forEach(partCount, phase: "packing") { index, _ in
            let part = part(index)
            let (k, v) = (k.rows(real(part)), v.rows(real(part)))
            k.prefetch()
            v.prefetch()
            packed.keys.columns(part).packTransposed(k)
            packed.values.pack(v, rows: part)
        }
        workers.pool.forEach(headsPerGroup * partCount, phase: "queries") { task, worker in
            let (late, member) = task.quotientAndRemainder(dividingBy: headsPerGroup)
            let head = group * headsPerGroup + member
            let (q, output) = (slice(q, sequence, head), slice(output, sequence, head))
            let lse = lse + (sequence * heads + head) * length
            let tile = ForwardTile<Element>(workers.tiles.arena(of: worker), self)
            // Late rows see the most keys: they come first.
            let part = part(partCount - 1 - late)
            for x in [q, output] { x.rows(real(part)).prefetch() }
            for first in stride(from: part.lowerBound, to: part.upperBound, by: Self.queryTile) {
                forward(first, q, packed, into: output, lse, tile)
            }
        }
    }

    /// The query rows from `first`.
    private func forward<Element: ActivationElement>(
        _ first: Int, _ q: Matrix<Element>, _ packed: ForwardScratch<Element>, into output: Matrix<Element>,
        _ lse: UnsafeMutablePointer<Float>, _ tile: ForwardTile<Element>
    ) {
        let (end, all) = (first + Self.queryTile, 0..<Self.queryTile)
        let rows = real(first..<end)
        copyDense(q.rows(rows), to: tile.queries)
        clear(tile.output, all)
        tile.maxima.update(repeating: -.infinity, count: Self.queryTile)
        tile.denominators.update(repeating: 0, count: Self.queryTile)

        for firstKey in stride(from: 0, to: end, by: Self.partSize) {
            let keys = firstKey..<min(firstKey + Self.partSize, end)
            let scores = Matrix(tile.scores.base, rows: all.count, columns: keys.count, stride: keys.count)
            let storage = Matrix(tile.probabilities.base, rows: all.count, columns: keys.count, stride: keys.count)
            let p = Element.operand(scores, storage: storage)
            multiply(tile.queries, packed.keys.columns(keys), into: scores, accumulating: false)
            for i in all {
                let row = scores.row(i)
                if keys.upperBound == end {
                    for j in first + i + 1 - firstKey..<keys.count { row[j] = -.infinity }
                }
                let correction = exponentials(row, count: keys.count, into: p.row(i), tile, i)
                if firstKey == 0 { continue }
                for panel in panels {
                    let columns = columns(panel)
                    let sums = tile.output.panel(columns, rows: i..<i + 1).base
                    forEachLanes(columns.count) { j, count in
                        Float.store(Float.load(sums + j, count: count) * correction, sums + j, count: count)
                    }
                }
            }
            for panel in panels {
                multiply(
                    p, packed.values.panel(at: panel).rows(keys),
                    into: tile.output.panel(columns(panel), rows: all), accumulating: true)
            }
        }

        for row in rows { lse[row] = tile.maxima[row - first] + log2(tile.denominators[row - first]) }
        for row in rows {
            let i = row - first
            for panel in panels {
                let columns = columns(panel)
                Softmax.scale(
                    tile.output.panel(columns, rows: i..<i + 1).base, count: columns.count,
                    by: 1 / tile.denominators[i], into: output.row(row) + columns.lowerBound)
            }
        }
    }

    /// p_j = 2^(scale log2(e) s_j - max), where the maximum is that of all of row i so far; adds to the row's denominator.
    /// Returns by how much what came before is too large.
    @inline(__always)
    private func exponentials<Element: ActivationElement>(
        _ scores: UnsafePointer<Float>, count: Int, into p: UnsafeMutablePointer<Element>,
        _ tile: ForwardTile<Element>, _ i: Int
    ) -> Lanes {
        // The count is a multiple of 64: four maxima and sums hide the latency.
        var (a, b) = (Float.load(scores), Float.load(scores + 16))
        var (c, d) = (Float.load(scores + 32), Float.load(scores + 48))
        var j = 64
        while j < count {
            a = a.larger(Float.load(scores + j))
            b = b.larger(Float.load(scores + j + 16))
            c = c.larger(Float.load(scores + j + 32))
            d = d.larger(Float.load(scores + j + 48))
            j &+= 64
        }
        let largest = max(tile.maxima[i], a.larger(b).larger(c.larger(d)).laneMax * binaryScale)
        let (factor, shift) = (Lanes(repeating: binaryScale), Lanes(repeating: -largest))
        // Rounded twice, so that the largest score's exponent is 0 however large it is.
        var (sums, others) = (Lanes.zero, Lanes.zero)
        j = 0
        while j < count {
            let (e, f) = (
                exp2(Float.load(scores + j) * factor + shift),
                exp2(Float.load(scores + j + 16) * factor + shift)
            )
            Element.store(e, p + j)
            Element.store(f, p + j + 16)
            sums += e
            others += f
            j &+= 32
        }
        sums += others
        let correction = exp2(Lanes(repeating: tile.maxima[i] - largest))
        tile.denominators[i] = tile.denominators[i] * correction[0] + sums.laneSum
        tile.maxima[i] = largest
        return correction
    }

    func clear(_ sums: Sums, _ rows: Range<Int>) {
        for panel in panels {
            let values = sums.panel(columns(panel), rows: rows)
            values.base.update(repeating: 0, count: values.count)
        }
    }

    /// Copies rows; what the target has more is 0.
    func copyDense<Element>(_ x: Matrix<Element>, to target: Matrix<Element>) {
        for row in 0..<target.rows {
            if row < x.rows {
                target.row(row).update(from: x.row(row), count: x.columns)
            } else {
                target.row(row).update(repeating: Element(0), count: x.columns)
            }
        }
    }
}
