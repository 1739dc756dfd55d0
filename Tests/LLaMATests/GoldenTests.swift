import Foundation
import LLaMA
import ModelFiles
import Optimizers
import TensorCore
import TestSupport
import Testing

/// Logits, loss, every gradient and six AdamW losses against the float64 truth of the golden LLaMAs:
/// those in `Fixtures`, and every `llama*` case in the folder named by `COSMOS_GOLDEN_DIR`.
@Suite struct GoldenTests {
    static func cases() throws -> [GoldenCase] { try GoldenCase.all { $0.hasPrefix("llama") } }

    @Test func bothFixturesAreThere() throws {
        #expect(try Self.cases().map(\.name).starts(with: ["llama_tiny", "llama_tiny_gqa"]))
    }

    static func model(_ golden: GoldenCase, precision: Precision = .fp32) throws -> LLaMA {
        let fields = golden.fields
        var config = LLaMAConfig()
        config.hiddenSize = try #require(fields.config.hidden_size.int)
        config.intermediateSize = try #require(fields.config.intermediate_size.int)
        config.numHiddenLayers = try #require(fields.config.num_hidden_layers.int)
        config.numAttentionHeads = try #require(fields.config.num_attention_heads.int)
        config.numKeyValueHeads = fields.config.num_key_value_heads.int ?? config.numAttentionHeads
        config.vocabSize = try #require(fields.config.vocab_size.int)
        config.rmsNormEps = try #require(fields.config.rms_norm_eps.double)
        config.ropeTheta = fields.rope_theta.double ?? 10_000
        config.tieWordEmbeddings = fields.config.tie_word_embeddings.bool ?? false
        let ids = try inputs(golden)
        let model = LLaMA(
            config: config, pool: WorkerPool(threads: testWorkers), microBatchSize: ids.count,
            sequenceLength: try #require(ids.first?.count), precision: precision)
        let url = golden.folder.appending(path: try #require(fields.weights.string))
        let file = try SafeTensorsFile(path: url.path(percentEncoded: false))
        for parameter in model.parameters { try file.read(parameter.name, into: parameter.weight) }
        return model
    }

    static func inputs(_ golden: GoldenCase) throws -> [[Int]] {
        try #require(golden.fields.input_ids.array).map { try #require($0.ints) }
    }

    /// Tokens, and targets shifted by one as Hugging Face's loss has them.
    static func batch(_ golden: GoldenCase) throws -> (tokens: [Int32], targets: [Int32], sequences: Int) {
        let ids = try inputs(golden)
        let labels = try #require(golden.fields.labels.array).map { try #require($0.ints) }
        return (ids.joined().map(Int32.init), labels.flatMap { $0.dropFirst() + [-100] }.map(Int32.init), ids.count)
    }

    @Test(arguments: try cases()) func logits(_ golden: GoldenCase) throws {
        let model = try Self.model(golden)
        let batch = try Self.batch(golden)
        let mask = try #require(golden.fields.attention_mask.array).flatMap { try #require($0.ints) }
        let logits = try model.logits(tokens: batch.tokens, sequences: batch.sequences)
        let expected = try golden.required("ideal64/logits_valid")
        var row = 0
        for (position, visible) in mask.enumerated() where visible == 1 {
            for column in 0..<model.config.vocabSize {
                let value = expected.doubles[row * model.config.vocabSize + column]
                #expect(abs(Double(logits.matrix[position, column]) - value) < 2e-5)
            }
            row += 1
        }
        #expect(row == expected.shape[0])
    }

    @Test(arguments: try cases()) func lossAndGradients(_ golden: GoldenCase) throws {
        let model = try Self.model(golden)
        let batch = try Self.batch(golden)
        let targets = batch.targets.count { $0 >= 0 }
        let loss = try model.accumulateGradients(
            TokenBatch(tokens: batch.tokens, targets: batch.targets, sequences: batch.sequences),
            tokenWeight: 1 / Float(targets))
        #expect(abs(loss.mean - (try #require(golden.fields.results.ideal64.loss.double))) < 1e-6)
        for parameter in model.parameters {
            let expected = try golden.required("ideal64/grad/\(parameter.name)").doubles
            try #require(expected.count == parameter.count)
            let norm = sqrt(expected.reduce(0) { $0 + $1 * $1 })
            let error = zip(parameter.gradient.elements, expected).reduce(0) {
                $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1)
            }
            #expect(sqrt(error) < 1e-5 * norm, "\(parameter.name)")
        }
    }

    /// Six steps as the golden file's `adamw` says, through clipping and the optimizer.
    @Test(arguments: try cases()) func adamWLosses(_ golden: GoldenCase) throws {
        let model = try Self.model(golden)
        let batch = try Self.batch(golden)
        let targets = batch.targets.count { $0 >= 0 }
        let settings = golden.fields.adamw
        let optimizer = Optimizer(
            OptimizerConfiguration(
                AdamW(
                    AdamSettings(
                        lr: try #require(settings.lr.double), betas: try #require(settings.betas.doubles),
                        eps: try #require(settings.eps.double),
                        weightDecay: try #require(settings.weight_decay.double)))),
            parameters: model.parameters, pool: model.pool)
        let maxNorm = try #require(settings.clip.double)
        let losses = try #require(golden.fields.results.ideal64.train_losses.doubles)
        let norms = try #require(golden.fields.results.ideal64.grad_norms_before_clip.doubles)
        try #require(losses.count == 6 && norms.count == 6)
        for (expectedLoss, expectedNorm) in zip(losses, norms) {
            model.zeroGradients()
            let loss = try model.accumulateGradients(
                TokenBatch(tokens: batch.tokens, targets: batch.targets, sequences: batch.sequences),
                tokenWeight: 1 / Float(targets))
            #expect(abs(loss.mean - expectedLoss) < 1e-5)
            let norm = try GradientClipping.globalNorm(model.parameters, pool: model.pool)
            #expect(abs(norm - expectedNorm) < 1e-5 * expectedNorm)
            GradientClipping.clip(model.parameters, norm: norm, maxNorm: maxNorm, pool: model.pool)
            try optimizer.step(learningRateFactor: 1)
        }
    }
}
