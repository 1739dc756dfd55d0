import TensorCore

struct BlockParameters {
    let query, key, value, output: Parameter
    let gate, up, down: Parameter
    let inputNorm, postAttentionNorm: Parameter

    init(_ config: LLaMAConfig, layer: Int) {
        let (hidden, intermediate, headDim) = (config.hiddenSize, config.intermediateSize, config.headDim)
        let queryRows = config.numAttentionHeads * headDim
        let keyRows = config.numKeyValueHeads * headDim
        func parameter(_ name: String, _ shape: [Int], _ role: ParameterRole) -> Parameter {
            Parameter(name: "model.layers.\(layer).\(name).weight", shape: shape, role: role)
        }
        query = parameter("self_attn.q_proj", [queryRows, hidden], .matrix(.query(headDim: headDim)))
        key = parameter("self_attn.k_proj", [keyRows, hidden], .matrix(.key(headDim: headDim)))
        value = parameter("self_attn.v_proj", [keyRows, hidden], .matrix(.value))
        output = parameter("self_attn.o_proj", [hidden, queryRows], .matrix(.attentionOutput))
        gate = parameter("mlp.gate_proj", [intermediate, hidden], .matrix(.gate))
        up = parameter("mlp.up_proj", [intermediate, hidden], .matrix(.up))
        down = parameter("mlp.down_proj", [hidden, intermediate], .matrix(.down))
        inputNorm = parameter("input_layernorm", [hidden], .vector)
        postAttentionNorm = parameter("post_attention_layernorm", [hidden], .vector)
    }

    /// In Hugging Face's order.
    var all: [Parameter] {
        [query, key, value, output, gate, up, down, inputNorm, postAttentionNorm]
    }
}

/// A parameter as the right operand of products.
package final class Linear<Element: ActivationElement> {
    let parameter: Parameter
    /// The weight in tiles of rows, in order.
    package let tiles: [(rows: Range<Int>, weight: WeightOperand<Element>)]

    /// One tile, or tiles of `tileRows` output features.
    package init(_ parameter: Parameter, tileRows: Int? = nil, memory: WeightOperand<Element>.Memory = .own) {
        self.parameter = parameter
        let weight = parameter.values.matrix
        tiles = ranges(of: weight.rows, size: tileRows ?? weight.rows).map {
            ($0, WeightOperand(weight.rows($0), memory: memory))
        }
    }

    /// The whole weight, [out_features, in_features], of a layer of one tile.
    package var weight: WeightOperand<Element> { tiles[0].weight }

    /// The bytes of the operands beside the parameter itself.
    var operandByteCount: Int { tiles.reduce(0) { $0 + $1.weight.byteCount } }
}
