import TensorCore

extension LLaMAConfig {
    /// Shape and role of every parameter of a model of this shape, in its order, without its memory.
    public var parameterShapes: [(shape: [Int], role: ParameterRole)] {
        let queryRows = numAttentionHeads * headDim
        let keyRows = numKeyValueHeads * headDim
        let block: [(shape: [Int], role: ParameterRole)] = [
            ([hiddenSize], .vector),
            ([queryRows, hiddenSize], .matrix(.query(headDim: headDim))),
            ([keyRows, hiddenSize], .matrix(.key(headDim: headDim))),
            ([keyRows, hiddenSize], .matrix(.value)),
            ([hiddenSize, queryRows], .matrix(.attentionOutput)),
            ([hiddenSize], .vector),
            ([intermediateSize, hiddenSize], .matrix(.gate)),
            ([intermediateSize, hiddenSize], .matrix(.up)),
            ([hiddenSize, intermediateSize], .matrix(.down)),
        ]
        let embedding: [(shape: [Int], role: ParameterRole)] = [([vocabSize, hiddenSize], .embedding)]
        let head: [(shape: [Int], role: ParameterRole)] =
            tieWordEmbeddings ? [] : [([vocabSize, hiddenSize], .head)]
        return embedding + repeatElement(block, count: numHiddenLayers).joined() + [([hiddenSize], .vector)] + head
    }
}
