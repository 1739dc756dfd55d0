import Checkpoints
import Console
import Files
import Foundation
import LLaMA
import Optimizers
import Settings
import TensorCore
import TestSupport
import Testing
import TokenData
import Training

@Suite("Evaluator")
struct EvaluatorTests {
    @Test("The loss is the exact mean over the targets, however they are cut", arguments: [1, 4, 7])
    func exactMean(microBatchSize: Int) throws {
        let run = try TinyRun()
        let dataset = try TokenDataset(
            path: run.folder.file("validation.bin"), sequenceLength: 16, vocabularySize: 32)
        let pool = WorkerPool(threads: 1)
        let model = LLaMA(
            config: try run.configuration([]).model, pool: pool, microBatchSize: microBatchSize, sequenceLength: 16)
        model.initialize(seed: 1)
        let evaluator = Evaluator(model: model, dataset: dataset, tokens: nil, microBatchSize: microBatchSize)
        #expect(evaluator.tokenCount == 62 * 16)

        var expected = 0.0
        for window in 0..<62 {
            var (tokens, targets) = ([Int32](repeating: 0, count: 16), [Int32](repeating: 0, count: 16))
            try tokens.withUnsafeMutableBufferPointer { tokens in
                try targets.withUnsafeMutableBufferPointer { try dataset.window(window, tokens: tokens, targets: $0) }
            }
            expected += try model.evaluateLoss(TokenBatch(tokens: tokens, targets: targets, sequences: 1)).sum
        }
        let loss = try evaluator.loss()
        #expect(loss.count == 62 * 16)
        #expect(abs(loss.sum - expected) < 1e-6 * expected)
    }

    @Test("A wish to stop ends an evaluation in the middle, and the next one gives the whole loss")
    func cancelled() throws {
        let run = try TinyRun()
        let dataset = try TokenDataset(
            path: run.folder.file("validation.bin"), sequenceLength: 16, vocabularySize: 32)
        let model = LLaMA(
            config: try run.configuration([]).model, pool: WorkerPool(threads: 2), microBatchSize: 4, sequenceLength: 16
        )
        model.initialize(seed: 1)
        let evaluator = Evaluator(model: model, dataset: dataset, tokens: nil, microBatchSize: 4)
        let flag = CountingFlag()
        let whole = try evaluator.loss(cancellation: flag).sum
        for part in 1..<8 {
            var done = 0
            let cancellation = CountingFlag(limit: part * flag.looks / 8)
            #expect(throws: CancellationError.self) { try evaluator.loss(cancellation: cancellation) { done = $0 } }
            #expect(done < evaluator.tokenCount && (part == 1 || done > 0))
            #expect(try evaluator.loss().sum == whole)
        }
    }

    @Test("Fewer tokens are whole windows spread over the data, the same ones each time")
    func subset() throws {
        let run = try TinyRun()
        let dataset = try TokenDataset(
            path: run.folder.file("validation.bin"), sequenceLength: 16, vocabularySize: 32)
        let model = LLaMA(
            config: try run.configuration([]).model, pool: WorkerPool(threads: 1), microBatchSize: 4, sequenceLength: 16
        )
        model.initialize(seed: 1)
        let evaluator = Evaluator(model: model, dataset: dataset, tokens: 100, microBatchSize: 4)
        #expect(evaluator.tokenCount == 112)
        #expect(try evaluator.loss().sum == evaluator.loss().sum)
        let more = Evaluator(model: model, dataset: dataset, tokens: 1 << 40, microBatchSize: 4)
        #expect(more.tokenCount == 62 * 16)

        // Two windows of four stand for both halves of the data.
        try writeShard(
            [UInt16](repeating: 1, count: 33) + [UInt16](repeating: 2, count: 32), to: run.folder.file("a.bin"))
        let halves = try TokenDataset(path: run.folder.file("a.bin"), sequenceLength: 16, vocabularySize: 32)
        let spread = Evaluator(model: model, dataset: halves, tokens: 32, microBatchSize: 4)
        #expect(try abs(spread.unigramEntropy() - log(2)) < 1e-12)
    }

    @Test("The unigram entropy is that of the targets' frequencies")
    func entropy() throws {
        let folder = try TemporaryFolder()
        // Targets: three times 1, once 0 in every window of four.
        try writeShard([0] + [1, 1, 1, 0, 1, 1, 1, 0], to: folder.file("a.bin"))
        let dataset = try TokenDataset(path: folder.file("a.bin"), sequenceLength: 4, vocabularySize: 32)
        let model = LLaMA(
            config: try TinyRun().configuration([]).model, pool: WorkerPool(threads: 1), microBatchSize: 1,
            sequenceLength: 4)
        let entropy = try Evaluator(model: model, dataset: dataset, tokens: nil, microBatchSize: 1).unigramEntropy()
        #expect(abs(entropy + 0.75 * log(0.75) + 0.25 * log(0.25)) < 1e-12)
    }
}
