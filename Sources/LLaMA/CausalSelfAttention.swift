// Causal self-attention with grouped key/value heads (Vaswani et al. 2017; Ainslie et al. 2023).
//
//     forward    P = softmax(Q K' / sqrt(d) + causal mask),   O = P V           for each head
//     backward   dV = P' dO,   dP = dO V',   D_i = sum_j dO_ij O_ij
//                dS = P (dP - D) / sqrt(d),   dQ = dS K,   dK = dS' Q
//
// q: [tokens, heads * d]; k, v: [tokens, kv heads * d]; a head is a strided slice of its matrix.
// Query head h reads key/value head h / (heads / kv heads).
//
// Scores exist for one tile of query rows of one head at a time, against the keys up to the tile's
// end: what the mask would hide beyond that is never computed, and no T x T matrix is ever held. The
// forward pass keeps each row's log-sum-exp, LSE (as FlashAttention does, Dao et al.
// 2022), from which the backward pass rebuilds P.
// Numerics: scores, softmax and the sums of gradients in float32; P and dS are rounded to the
// activations' type for their products. Rows are shifted by their maximum. Key and value gradients of a head are summed
// over query tiles and query heads in their order.
// Cost: 4 T^2 d FLOPs a head forward and 10 T^2 d backward, about half of which the mask saves.

import Glibc
import TensorCore

/// The attention of sequences of one length: shapes, and the kernels for one head.
struct CausalSelfAttention {
    let heads: Int
    let keyValueHeads: Int
    let headDim: Int
    /// Positions in a sequence.
    let length: Int

    init(_ config: LLaMAConfig, length: Int) {
        heads = config.numAttentionHeads
        keyValueHeads = config.numKeyValueHeads
        headDim = config.headDim
        self.length = length
    }

    /// Query rows that share a score matrix: large enough for fast products, small enough that its
    /// scores stay in the second-level cache and little of the masked half is computed.
    static let queryTile = 64

    private var scale: Float { 1 / Float(headDim).squareRoot() }
    private var headsPerGroup: Int { heads / keyValueHeads }

    /// One number for each pair of a query in a tile and a key, and the same as operands of products.
    struct Scores<Element: ActivationElement> {
        private let values: Matrix<Float>
        private let operands: Matrix<Element>

        init(_ arena: Arena, _ attention: CausalSelfAttention) {
            let rows = min(queryTile, attention.length)
            values = arena.matrix(rows, attention.length)
            operands = arena.matrix(rows, attention.length, of: Element.self)
        }

        /// For so many query rows and the keys up to the tile's end, packed densely.
        func tile(_ queries: Int, _ keys: Int) -> (values: Matrix<Float>, operands: Matrix<Element>) {
            let values = Matrix(values.base, rows: queries, columns: keys, stride: keys)
            let operands = Matrix(operands.base, rows: queries, columns: keys, stride: keys)
            return (values, Element.operand(values, storage: operands))
        }
    }

    /// What `backward` takes of an arena. `forward` takes `Scores` alone.
    struct BackwardScratch<Element: ActivationElement> {
        fileprivate let probabilities, gradients: Scores<Element>
        fileprivate let dk, dv: Matrix<Float>
        fileprivate let rowDots: UnsafeMutablePointer<Float>

        init(_ arena: Arena, _ attention: CausalSelfAttention) {
            probabilities = Scores(arena, attention)
            gradients = Scores(arena, attention)
            dk = arena.matrix(attention.length, attention.headDim)
            dv = arena.matrix(attention.length, attention.headDim)
            rowDots = arena.array(queryTile, of: Float.self)
        }
    }

    /// One query head of one sequence, whose rows alone the matrices hold. Query row i stands at
    /// position `firstPosition` + i (0 in training; later when a cache holds the keys and values of
    /// the positions before). One element of `lse` is set for each query row.
    func forward<Element: ActivationElement>(
        head: Int, q: Matrix<Element>, firstPosition: Int = 0, k: Matrix<Element>, v: Matrix<Element>,
        into output: Matrix<Element>, lse: UnsafeMutablePointer<Float>, arena: Arena
    ) {
        let q = slice(q, head)
        let (k, v) = (slice(k, head / headsPerGroup), slice(v, head / headsPerGroup))
        let output = slice(output, head)
        let scratch = Scores<Element>(arena, self)
        for rows in ranges(of: q.rows, size: Self.queryTile) {
            let keys = 0..<firstPosition + rows.upperBound
            let (scores, p) = scratch.tile(rows.count, keys.count)
            multiply(q.rows(rows).plain, k.rows(keys).transposed, into: scores, accumulating: false)
            for row in rows {
                let i = row - rows.lowerBound
                lse[row] = softmax(
                    scores.row(i), visible: firstPosition + row + 1, of: keys.count, into: p.row(i))
            }
            multiply(p.plain, v.rows(keys).plain, into: output.rows(rows))
        }
    }

    /// One key/value head of one sequence with all query heads that read it. Replaces q, k and v of
    /// these heads by their gradients.
    func backward<Element: ActivationElement>(
        group: Int, q: Matrix<Element>, k: Matrix<Element>, v: Matrix<Element>, output: Matrix<Element>,
        doutput: Matrix<Element>, lse: (_ head: Int) -> UnsafePointer<Float>, arena: Arena
    ) {
        let (k, v) = (slice(k, group), slice(v, group))
        let scratch = BackwardScratch<Element>(arena, self)
        let (dk, dv, rowDots) = (scratch.dk, scratch.dv, scratch.rowDots)
        dk.base.update(repeating: 0, count: dk.count)
        dv.base.update(repeating: 0, count: dv.count)

        for head in group * headsPerGroup..<(group + 1) * headsPerGroup {
            let (q, output, doutput) = (slice(q, head), slice(output, head), slice(doutput, head))
            let lse = lse(head)
            for rows in ranges(of: length, size: Self.queryTile) {
                let keys = 0..<rows.upperBound
                let (qRows, doutputRows) = (q.rows(rows), doutput.rows(rows))
                let (scores, p) = scratch.probabilities.tile(rows.count, keys.count)
                multiply(qRows.plain, k.rows(keys).transposed, into: scores, accumulating: false)
                for row in rows {
                    let i = row - rows.lowerBound
                    rebuildProbabilities(
                        scores.row(i), lse: lse[row], visible: row + 1, of: keys.count,
                        into: p.row(i))
                    rowDots[i] = dot(output.row(row), doutput.row(row))
                }
                multiply(p.transposed, doutputRows.plain, into: dv.rows(keys), accumulating: true)

                let (dp, ds) = scratch.gradients.tile(rows.count, keys.count)
                multiply(doutputRows.plain, v.rows(keys).transposed, into: dp, accumulating: false)
                for i in 0..<rows.count {
                    scoreGradient(
                        dp.row(i), probabilities: p.row(i), rowDot: rowDots[i], count: keys.count, into: ds.row(i))
                }
                multiply(ds.transposed, qRows.plain, into: dk.rows(keys), accumulating: true)
                // Later tiles read other rows of q, so these may give way to their gradient.
                multiply(ds.plain, k.rows(keys).plain, into: qRows)
            }
        }
        copy(dk, to: k)
        copy(dv, to: v)
    }

    private func slice<Element>(_ x: Matrix<Element>, _ head: Int) -> Matrix<Element> {
        x.columns(head * headDim..<(head + 1) * headDim)
    }

    /// Softmax of the first `visible` products q k', zero beyond, into `p`, which may be where the products
    /// are; returns the log of its denominator.
    private func softmax<Element: TensorElement>(
        _ scores: UnsafeMutablePointer<Float>, visible: Int, of count: Int, into p: UnsafeMutablePointer<Element>
    ) -> Float {
        let (shift, sum) = Softmax.exponentials(scores, count: visible, scale: scale)
        Softmax.scale(scores, count: visible, by: 1 / sum, into: p)
        for j in visible..<count { p[j] = Element(0) }
        return shift + log(sum)
    }

    private func rebuildProbabilities<Element: TensorElement>(
        _ scores: UnsafePointer<Float>, lse: Float, visible: Int, of count: Int,
        into p: UnsafeMutablePointer<Element>
    ) {
        forEachLanes(visible) { j, n in
            let score = Float.load(scores + j, count: n) * scale
            Element.store(exp(score - lse), p + j, count: n)
        }
        for j in visible..<count { p[j] = Element(0) }
    }

    /// dS = P (dP - D) / sqrt(d), into `ds`, which may be where dP is.
    private func scoreGradient<Element: TensorElement>(
        _ dp: UnsafePointer<Float>, probabilities: UnsafePointer<Element>, rowDot: Float, count: Int,
        into ds: UnsafeMutablePointer<Element>
    ) {
        forEachLanes(count) { j, n in
            let centered = Float.load(dp + j, count: n) - rowDot
            Element.store(Element.load(probabilities + j, count: n) * centered * scale, ds + j, count: n)
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
