import Foundation
import LLaMA
import TensorCore

/// LLaMA's forward pass written down naively in Double, loop by loop from its equations: no blocks,
/// no cache, no shared code with the model. What the model must agree with.
struct ReferenceLLaMA {
    let config: LLaMAConfig
    /// Weights by name, row major.
    var weights: [String: [Double]]

    init(_ model: LLaMA) {
        config = model.config
        weights = Dictionary(
            uniqueKeysWithValues: model.parameters.map { ($0.name, $0.weight.elements.map(Double.init)) })
    }

    /// The logits of one sequence, `[length][vocab_size]`.
    func logits(_ tokens: [Int32]) -> [[Double]] { hidden(tokens).map { linear($0, headName) } }

    var headName: String { config.tieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight" }

    /// What the head reads of one sequence, `[length][hidden_size]`.
    func hidden(_ tokens: [Int32]) -> [[Double]] {
        var x = tokens.map { token in
            let start = Int(token) * config.hiddenSize
            return Array(weights["model.embed_tokens.weight"]![start..<start + config.hiddenSize])
        }
        for layer in 0..<config.numHiddenLayers {
            let name = "model.layers.\(layer)."
            let h = x.map { normalize($0, name + "input_layernorm.weight") }
            let a = attention(
                q: h.map { linear($0, name + "self_attn.q_proj.weight") },
                k: h.map { linear($0, name + "self_attn.k_proj.weight") },
                v: h.map { linear($0, name + "self_attn.v_proj.weight") })
            for t in x.indices {
                x[t] = zip(x[t], linear(a[t], name + "self_attn.o_proj.weight")).map(+)
                let m = normalize(x[t], name + "post_attention_layernorm.weight")
                let gate = linear(m, name + "mlp.gate_proj.weight")
                let up = linear(m, name + "mlp.up_proj.weight")
                let gated = zip(gate, up).map { $0 / (1 + Foundation.exp(-$0)) * $1 }
                x[t] = zip(x[t], linear(gated, name + "mlp.down_proj.weight")).map(+)
            }
        }
        return x.map { normalize($0, "model.norm.weight") }
    }

    /// The sum of the losses of the positions with a target.
    func loss(tokens: [Int32], targets: [Int32], sequences: Int) -> Double {
        let length = tokens.count / sequences
        var sum = 0.0
        for sequence in 0..<sequences {
            let range = sequence * length..<(sequence + 1) * length
            for (row, target) in zip(logits(Array(tokens[range])), targets[range]) where target >= 0 {
                let largest = row.max()!
                sum += log(row.reduce(0) { $0 + Foundation.exp($1 - largest) }) + largest - row[Int(target)]
            }
        }
        return sum
    }

    private func normalize(_ x: [Double], _ gain: String) -> [Double] {
        let meanSquare = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
        let s = 1 / (meanSquare + config.rmsNormEps).squareRoot()
        return zip(x, weights[gain]!).map { $0 * s * $1 }
    }

    private func linear(_ x: [Double], _ name: String) -> [Double] {
        let w = weights[name]!
        return (0..<w.count / x.count).map { row in
            (0..<x.count).reduce(0) { $0 + w[row * x.count + $1] * x[$1] }
        }
    }

    private func rotate(_ x: [Double], position: Int) -> [Double] {
        let d = config.headDim
        var result = x
        for start in stride(from: 0, to: x.count, by: d) {
            for j in 0..<d / 2 {
                let angle = Double(position) * pow(config.ropeTheta, -2 * Double(j) / Double(d))
                let (a, b) = (x[start + j], x[start + j + d / 2])
                result[start + j] = a * cos(angle) - b * sin(angle)
                result[start + j + d / 2] = b * cos(angle) + a * sin(angle)
            }
        }
        return result
    }

    private func attention(q: [[Double]], k: [[Double]], v: [[Double]]) -> [[Double]] {
        let d = config.headDim
        let q = q.enumerated().map { rotate($1, position: $0) }
        let k = k.enumerated().map { rotate($1, position: $0) }
        let group = config.numAttentionHeads / config.numKeyValueHeads
        return q.indices.map { t in
            (0..<config.numAttentionHeads).flatMap { head -> [Double] in
                let (qStart, kStart) = (head * d, head / group * d)
                let scores = (0...t).map { s in
                    (0..<d).reduce(0) { $0 + q[t][qStart + $1] * k[s][kStart + $1] } / Double(d).squareRoot()
                }
                let largest = scores.max()!
                let weights = scores.map { Foundation.exp($0 - largest) }
                let sum = weights.reduce(0, +)
                return (0..<d).map { j in (0...t).reduce(0) { $0 + weights[$1] / sum * v[$1][kStart + j] } }
            }
        }
    }
}
