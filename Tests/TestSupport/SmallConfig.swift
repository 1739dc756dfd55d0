import LLaMA

/// A model whose dimensions all differ.
package func smallConfig() -> LLaMAConfig {
    var config = LLaMAConfig()
    config.hiddenSize = 48
    config.intermediateSize = 90
    config.numHiddenLayers = 2
    config.numAttentionHeads = 6
    config.numKeyValueHeads = 3
    config.vocabSize = 101
    config.maxPositionEmbeddings = 64
    config.rmsNormEps = 1e-5
    config.ropeTheta = 500_000
    config.tieWordEmbeddings = true
    return config
}
