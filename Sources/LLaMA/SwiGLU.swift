// The gated activation of LLaMA's MLP (Shazeer 2020): s = silu(g) u, silu(x) = x sigmoid(x).
//
//     forward    s = g a u                          with a = sigmoid(g)
//     backward   du = ds g a
//                dg = ds u a (1 + g (1 - a))
//
// g = gate_proj(h), u = up_proj(h), s: [tokens, intermediate_size]. The products with the three
// weight matrices are in `TransformerBlock`. Cost: one exp an element in each direction.

import TensorCore

package enum SwiGLU {
    @_specialize(where Element == Float)
    @_specialize(where Element == BFloat16)
    package static func forward<Element: TensorElement>(
        gate: Matrix<Element>, up: Matrix<Element>, into product: Matrix<Element>
    ) {
        for i in 0..<gate.rows {
            let (g, u, s) = (gate.row(i), up.row(i), product.row(i))
            forEachLanes(gate.columns) { j, count in
                let value = Element.load(g + j, count: count)
                let activated = value * sigmoid(value) * Element.load(u + j, count: count)
                Element.store(activated, s + j, count: count)
            }
        }
    }

    /// Replaces `gate` and `up` by their gradients and computes s anew into `product`: the down
    /// projection's weight gradient needs it, and keeping it from the forward pass would cost a third
    /// [tokens, intermediate_size] for every layer.
    @_specialize(where Element == Float)
    @_specialize(where Element == BFloat16)
    package static func backward<Element: TensorElement>(
        _ ds: Matrix<Float>, gate: Matrix<Element>, up: Matrix<Element>, product: Matrix<Element>
    ) {
        for i in 0..<gate.rows {
            let (upstream, g, u, s) = (ds.row(i), gate.row(i), up.row(i), product.row(i))
            forEachLanes(gate.columns) { j, count in
                let value = Element.load(g + j, count: count)
                let linear = Element.load(u + j, count: count)
                let gradient = Float.load(upstream + j, count: count)
                let a = sigmoid(value)
                let activated = value * a
                Element.store(activated * linear, s + j, count: count)
                Element.store(gradient * activated, u + j, count: count)
                let slope = a * (1 + value * (1 - a))
                Element.store(gradient * linear * slope, g + j, count: count)
            }
        }
    }
}
