import TensorCore

/// Causal self-attention of a few new queries to the keys and values that a cache holds: `CausalSelfAttention`'s forward
/// pass in float32, a few query rows against all keys at a time, which are read where they lie.
struct CachedAttention {
    let heads: Int
    private let keyValueHeads, headDim, maxLength: Int

    init(_ config: LLaMAConfig, maxLength: Int) {
        heads = config.numAttentionHeads
        keyValueHeads = config.numKeyValueHeads
        headDim = config.headDim
        self.maxLength = maxLength
    }

    /// Scores of so many query rows, of an arena.
    func scratch(_ arena: Arena, queries: Int) -> Matrix<Float> { arena.matrix(queries, maxLength) }

    /// One query head. Query row i stands at `firstPosition` + i, and its key and value are in the cache already.
    func callAsFunction(
        head: Int, q: Matrix<Float>, firstPosition: Int, keys: Matrix<Float>, values: Matrix<Float>,
        into output: Matrix<Float>, scores: Matrix<Float>
    ) {
        let group = head * keyValueHeads / heads
        let (columns, shared) = (head * headDim..<(head + 1) * headDim, group * headDim..<(group + 1) * headDim)
        let count = firstPosition + q.rows
        let scores = Matrix(scores.base, rows: q.rows, columns: count, stride: count)
        multiply(q.columns(columns).plain, keys.rows(0..<count).columns(shared).transposed, into: scores)
        for row in 0..<q.rows {
            let visible = firstPosition + row + 1
            let p = scores.row(row)
            Softmax.scale(p, count: visible, by: 1 / Float(headDim).squareRoot(), into: p)
            let (max, sum) = Softmax.normalizer(p, count: visible)
            Softmax.exponentials(p, count: visible, shift: max, factor: 1 / sum, into: p)
            for j in visible..<count { p[j] = 0 }
        }
        multiply(scores.plain, values.rows(0..<count).columns(shared).plain, into: output.columns(columns))
    }
}
