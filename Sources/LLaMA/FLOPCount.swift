/// The floating-point operations of training, two for each multiply and add.
public struct FLOPCount: Sendable {
    /// Weights that take part in a matrix product for each token (the embedding is a lookup).
    public let matrixParameters: Int
    /// Products a token of the forward pass: 2 a weight, and attention's 2 * 2 * d a head for each of
    /// the (length + 1) / 2 positions that a token sees on average.
    public let forwardPerToken: Double
    /// Forward and backward (twice the forward pass).
    public var trainingPerToken: Double { 3 * forwardPerToken }

    public init(_ config: LLaMAConfig, sequenceLength: Int) {
        let (hidden, intermediate) = (config.hiddenSize, config.intermediateSize)
        let queryWidth = config.numAttentionHeads * config.headDim
        let keyWidth = config.numKeyValueHeads * config.headDim
        let layer = 2 * hidden * queryWidth + 2 * hidden * keyWidth + 3 * hidden * intermediate
        matrixParameters = config.numHiddenLayers * layer + config.vocabSize * hidden
        let seen = Double(sequenceLength + 1) / 2
        let attention = 4 * Double(queryWidth) * seen * Double(config.numHiddenLayers)
        forwardPerToken = 2 * Double(matrixParameters) + attention
    }
}
