// Token embedding: row lookup, and its gradient.
//
//     forward    x_t = E[token_t]                      E: [vocab_size, hidden_size]
//     backward   dE[token_t] += dx_t
//
// Numerics: a token's gradient rows are added in the order of the batch. The gradient is shared out
// by columns, so that two workers never meet in one row and the order never changes.

import TensorCore

package enum Embedding {
    package static func forward(_ tokens: UnsafeBufferPointer<Int32>, weight: Matrix<Float>, into x: Matrix<Float>) {
        require(tokens.count == x.rows, "\(tokens.count) tokens into \(x.rows) rows")
        for (i, token) in tokens.enumerated() {
            let row = weight.row(Int(token))
            x.row(i).update(from: row, count: x.columns)
        }
    }

    /// Adds the columns `columns` of dx to the gradient rows of their tokens.
    package static func backward(
        _ dx: Matrix<Float>, tokens: UnsafeBufferPointer<Int32>, columns: Range<Int>,
        addingTo gradient: Matrix<Float>
    ) {
        for (i, token) in tokens.enumerated() {
            let source = dx.row(i) + columns.lowerBound
            let target = gradient.row(Int(token)) + columns.lowerBound
            forEachLanes(columns.count) { j, count in
                let sum = Float.load(target + j, count: count) + Float.load(source + j, count: count)
                Float.store(sum, target + j, count: count)
            }
        }
    }
}
