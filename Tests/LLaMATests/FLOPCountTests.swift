import LLaMA
import Testing

/// Counts against hand-computed values for GaLore's 60M shape.
@Suite struct FLOPCountTests {
    @Test func llama60m() {
        var config = LLaMAConfig()
        config.hiddenSize = 512
        config.intermediateSize = 1376
        config.numHiddenLayers = 8
        config.numAttentionHeads = 8
        config.vocabSize = 32_000
        let flops = FLOPCount(config, sequenceLength: 256)
        // 58,073,600 parameters without the embedding (32000 * 512) and the 17 norm gains (512 each).
        #expect(flops.matrixParameters == 58_073_600 - 32_000 * 512 - 17 * 512)
        // Attention: scores and values, 2 FLOPs each, 512 wide, 128.5 positions, 8 layers.
        #expect(flops.forwardPerToken == 2 * Double(flops.matrixParameters) + 2 * 2 * 512 * 128.5 * 8)
        #expect(flops.trainingPerToken == 3 * flops.forwardPerToken)
    }
}
