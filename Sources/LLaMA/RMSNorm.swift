// Root mean square layer normalization (Zhang and Sennrich 2019), as in LLaMA.
//
//     forward    y_i = g_i x_i s        with s = 1 / sqrt(mean(x^2) + eps), per token
//     backward   dx_i = s (g_i dy_i - x_i s^2 mean_j(g_j dy_j x_j))
//                dg_i = sum over tokens of dy_i x_i s
//
// x, y: [tokens, hidden_size]; g: [hidden_size].
// Numerics: computed in float32 whatever x and y are stored as, sums over sixteen fixed lanes. s is
// recomputed in the backward pass: it costs one pass over a row that is read anyway, and the normalized y
// need not be kept.
// Cost: about 4 FLOPs an element forward and 9 backward; bound by memory.

import TensorCore

package enum RMSNorm {
    @_specialize(where Input == Float, Output == Float)
    @_specialize(where Input == BFloat16, Output == BFloat16)
    package static func forward<Input: TensorElement, Output: TensorElement>(
        _ x: Matrix<Input>, gain: Tensor<Float>, eps: Float, into y: Matrix<Output>
    ) {
        require(
            x.rows == y.rows && x.columns == y.columns && gain.count == x.columns,
            "RMSNorm of \(x.rows)x\(x.columns) with gain \(gain.count) into \(y.rows)x\(y.columns)")
        for i in 0..<x.rows {
            let (input, output) = (x.row(i), y.row(i))
            let s = inverseRootMeanSquare(input, x.columns, eps: eps)
            forEachLanes(x.columns) { j, count in
                let normalized = Input.load(input + j, count: count) * s
                Output.store(normalized * Float.load(gain.data + j, count: count), output + j, count: count)
            }
        }
    }

    /// Adds the gradient through the norm to `dx` and the gain's gradient over these rows to `dgain`.
    @_specialize(where Input == Float)
    @_specialize(where Input == BFloat16)
    package static func backward<Input: TensorElement>(
        _ dy: Matrix<Float>, x: Matrix<Input>, gain: Tensor<Float>, eps: Float,
        addingTo dx: Matrix<Float>, dgain: UnsafeMutablePointer<Float>
    ) {
        require(
            dy.rows == x.rows && dx.rows == x.rows && dy.columns == x.columns && dx.columns == x.columns,
            "RMSNorm backward of \(dy.rows)x\(dy.columns) for \(x.rows)x\(x.columns)")
        let n = x.columns
        for i in 0..<x.rows {
            let (input, upstream, result) = (x.row(i), dy.row(i), dx.row(i))
            let s = inverseRootMeanSquare(input, n, eps: eps)
            var products = Lanes.zero
            forEachLanes(n) { j, count in
                let weighted = Float.load(upstream + j, count: count) * Float.load(gain.data + j, count: count)
                products = weighted.multiplyAdd(Input.load(input + j, count: count), products)
            }
            let projection = s * s * s * products.laneSum / Float(n)
            forEachLanes(n) { j, count in
                let value = Input.load(input + j, count: count)
                let gradient = Float.load(upstream + j, count: count)
                let weighted = gradient * Float.load(gain.data + j, count: count)
                let sum = Float.load(result + j, count: count) + (weighted * s - value * projection)
                Float.store(sum, result + j, count: count)
                let gainSum = (value * s).multiplyAdd(gradient, Float.load(dgain + j, count: count))
                Float.store(gainSum, dgain + j, count: count)
            }
        }
    }

    private static func inverseRootMeanSquare<Input: TensorElement>(
        _ x: UnsafePointer<Input>, _ n: Int, eps: Float
    ) -> Float {
        var squares = Lanes.zero
        forEachLanes(n) { j, count in
            let value = Input.load(x + j, count: count)
            squares = value.multiplyAdd(value, squares)
        }
        return 1 / (squares.laneSum / Float(n) + eps).squareRoot()
    }
}
