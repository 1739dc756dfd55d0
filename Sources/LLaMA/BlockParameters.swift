import TensorCore

struct BlockParameters {
    let query, key, value, output: Parameter
    let gate, up, down: Parameter
    let inputNorm, postAttentionNorm: Parameter

    /// Gradients lie where those of the `first` block do, if there is one.
    init(_ config: LLaMAConfig, layer: Int, first: BlockParameters?) {
        let (hidden, intermediate, headDim) = (config.hiddenSize, config.intermediateSize, config.headDim)
        let queryRows = config.numAttentionHeads * headDim
        let keyRows = config.numKeyValueHeads * headDim
        func parameter(
            _ name: String, _ shape: [Int], _ role: ParameterRole, _ first: Parameter?
        ) -> Parameter {
            Parameter(
                name: "model.layers.\(layer).\(name).weight", shape: shape, role: role, gradient: first?.gradient)
        }
        query = parameter("self_attn.q_proj", [queryRows, hidden], .matrix(.query(headDim: headDim)), first?.query)
        key = parameter("self_attn.k_proj", [keyRows, hidden], .matrix(.key(headDim: headDim)), first?.key)
        value = parameter("self_attn.v_proj", [keyRows, hidden], .matrix(.value), first?.value)
        output = parameter("self_attn.o_proj", [hidden, queryRows], .matrix(.attentionOutput), first?.output)
        gate = parameter("mlp.gate_proj", [intermediate, hidden], .matrix(.gate), first?.gate)
        up = parameter("mlp.up_proj", [intermediate, hidden], .matrix(.up), first?.up)
        down = parameter("mlp.down_proj", [hidden, intermediate], .matrix(.down), first?.down)
        inputNorm = parameter("input_layernorm", [hidden], .vector, first?.inputNorm)
        postAttentionNorm = parameter("post_attention_layernorm", [hidden], .vector, first?.postAttentionNorm)
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
