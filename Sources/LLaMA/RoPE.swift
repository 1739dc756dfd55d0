// Rotary position embedding (Su et al. 2021), in Hugging Face's half-split layout.
//
//     angle(p, j) = p theta^(-2j/d),   j = 0 ..< d/2
//     x_j'        = x_j cos - x_{j+d/2} sin
//     x_{j+d/2}'  = x_{j+d/2} cos + x_j sin          for each head of d values at position p
//
// The backward pass is the rotation by the opposite angle. (Meta's checkpoints pair x_2j with
// x_2j+1 instead; they need their rows permuted first.)
// Numerics: the tables are computed in Double and rounded once. Cost: 3 FLOPs an element.

import Glibc
import TensorCore

/// The tables of cosines and sines for the positions 0 ..< length.
package final class RoPE: Sendable {
    private let cosines: Tensor<Float>
    private let sines: Tensor<Float>
    private let headDim: Int
    private let length: Int

    package init(headDim: Int, length: Int, theta: Double) {
        require(headDim % 2 == 0, "rotary embedding needs an even head dim, not \(headDim)")
        let half = headDim / 2
        self.headDim = headDim
        self.length = length
        cosines = Tensor(length, half)
        sines = Tensor(length, half)
        guard cosines.hasMemory else { return }
        for j in 0..<half {
            let frequency = pow(theta, -2 * Double(j) / Double(headDim))
            for position in 0..<length {
                let angle = Double(position) * frequency
                cosines.data[position * half + j] = Float(cos(angle))
                sines.data[position * half + j] = Float(sin(angle))
            }
        }
    }

    var byteCount: Int { cosines.byteCount + sines.byteCount }

    /// Which way to turn: forward in the forward pass, backward for its gradient.
    package enum Direction: Float { case forward = 1, backward = -1 }

    /// Rotates every head of each row in place. Row i stands at position
    /// (`firstPosition` + i) mod `period`; `x` is [tokens, heads * head dim].
    @_specialize(where Element == Float)
    @_specialize(where Element == BFloat16)
    package func rotate<Element: TensorElement>(
        _ x: Matrix<Element>, firstPosition: Int, period: Int, _ direction: Direction
    ) {
        require(
            x.columns % headDim == 0 && period <= length,
            "rotation of \(x.rows)x\(x.columns), head dim \(headDim), \(period) of \(length) positions")
        let half = headDim / 2
        let sign = direction.rawValue
        for i in 0..<x.rows {
            let table = (firstPosition + i) % period * half
            for head in 0..<(x.columns / headDim) {
                let low = x.row(i) + head * headDim
                let high = low + half
                forEachLanes(half) { j, count in
                    let c = Float.load(cosines.data + table + j, count: count)
                    let s = Float.load(sines.data + table + j, count: count) * sign
                    let a = Element.load(low + j, count: count)
                    let b = Element.load(high + j, count: count)
                    Element.store(a * c - b * s, low + j, count: count)
                    Element.store(b * c + a * s, high + j, count: count)
                }
            }
        }
    }
}
