import Console
import Foundation
import LLaMA
import Optimizers
import TensorCore
import TestSupport
import Testing
import TokenData
import Training

/// Training and evaluation with one document a row.
@Suite struct DocumentPackingTests {
    /// A run on documents of 2 to 22 tokens, in rows of 16.
    private func makeRun() throws -> TinyRun {
        let run = try TinyRun()
        for (name, seed) in [("train.bin", UInt64(1)), ("validation.bin", 2)] {
            var random = Random(seed: seed, stream: "documents")
            var tokens: [UInt16] = []
            for _ in 0..<40 {
                let first = random.below(30)
                tokens += (0..<1 + random.below(21)).map { UInt16(2 + (first + $0) % 30) } + [1]
            }
            try writeShard(tokens, to: run.folder.file(name), endOfTextID: 1)
        }
        return run
    }

    private func dataset(_ run: TinyRun, _ name: String) throws -> TokenDataset {
        try TokenDataset(
            path: run.folder.file(name), sequenceLength: 16, vocabularySize: 32, packing: .documents)
    }

    @Test("The log counts targets; each weighs the same however the batch is cut")
    func exactMeans() throws {
        let run = try makeRun()
        try run.train("four", "data.packing=false")
        let data = try dataset(run, "train.bin")
        var sampler = BatchSampler(windowCount: data.windowCount, seed: 1)
        var tokens = 0
        let log = try run.log("four")
        for row in log {
            tokens += sampler.next(8).reduce(0) { $0 + data.targetCount($1) }
            #expect(row[1] == "\(tokens)")
        }
        let (first, last) = (try #require(Double(log[0][2])), try #require(Double(log[11][2])))
        #expect(last < first - 0.1)
        for size in [1, 3, 8] {
            try run.train("by \(size)", "data.packing=documents", "training.micro_batch_size=\(size)")
            for (a, b) in zip(log, try run.log("by \(size)")) {
                let (x, y) = (try #require(Double(a[2])), try #require(Double(b[2])))
                #expect(abs(x - y) < 2e-5 * x, "step \(a[0]): \(x) and \(y)")
            }
        }
    }

    @Test("A run that lost what came after a checkpoint makes it again, to the bit, its token count included")
    func resumed() throws {
        let run = try makeRun()
        try run.train("straight", "data.packing=documents")
        try run.train("killed", "data.packing=documents")
        for name in ["step-00000012", "step-00000010"] {
            try FileManager.default.removeItem(atPath: run.folder.file("killed/checkpoints/\(name)"))
        }
        try run.train("killed", "data.packing=documents", purpose: .resume)
        try run.expectEqual("straight", "killed")

        let other = #expect(throws: UserError.self) { try run.train("killed", purpose: .resume) }
        #expect(other?.message.contains("data.packing was false and is now true") == true)
    }

    @Test("Every target of a step weighs the same, however long its document is")
    func gradient() throws {
        let run = try makeRun()
        try run.train("run", "data.packing=false", "training.steps=1", "schedule.warmup=0")
        let logged = try #require(Double(run.log()[0][6]))

        let configuration = try run.configuration([])
        let data = try dataset(run, "train.bin")
        let model = LLaMA(
            config: configuration.model, pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: 16)
        model.initialize(seed: UInt64(configuration.training.seed))
        var sampler = BatchSampler(windowCount: data.windowCount, seed: UInt64(configuration.data.seed))
        let windows = sampler.next(configuration.training.batchSize)
        let weight = 1 / Float(windows.reduce(0) { $0 + data.targetCount($1) })
        for index in windows {
            var (tokens, targets) = ([Int32](repeating: 0, count: 16), [Int32](repeating: 0, count: 16))
            try tokens.withUnsafeMutableBufferPointer { tokens in
                try targets.withUnsafeMutableBufferPointer { try data.window(index, tokens: tokens, targets: $0) }
            }
            _ = try model.accumulateGradients(
                TokenBatch(tokens: tokens, targets: targets, sequences: 1), tokenWeight: weight)
        }
        let norm = try GradientClipping.globalNorm(model.parameters, pool: model.pool)
        #expect(abs(logged / norm - 1) < 1e-5, "\(logged) instead of \(norm)")
    }

    @Test("An evaluation is the sum over documents, each alone; GaLore's number is made of its batches")
    func evaluation() throws {
        let run = try makeRun()
        let data = try dataset(run, "validation.bin")
        let config = try run.configuration([]).model
        let model = LLaMA(config: config, pool: WorkerPool(threads: 1), microBatchSize: 4, sequenceLength: 16)
        model.initialize(seed: 1)
        let evaluator = Evaluator(model: model, dataset: data, tokens: nil, microBatchSize: 4)
        let total = try evaluator.loss()
        #expect(total.count == data.targetCount)
        #expect(evaluator.tokenCount == data.targetCount)

        var documents: [TokenLoss] = []
        for index in 0..<data.windowCount {
            var (tokens, targets) = ([Int32](repeating: 0, count: 16), [Int32](repeating: 0, count: 16))
            try tokens.withUnsafeMutableBufferPointer { tokens in
                try targets.withUnsafeMutableBufferPointer { try data.window(index, tokens: tokens, targets: $0) }
            }
            // Without its padding, in a model of its length.
            let count = targets.count { $0 >= 0 }
            let exact = LLaMA(config: config, pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: count)
            exact.initialize(seed: 1)
            documents.append(
                try exact.evaluateLoss(
                    TokenBatch(tokens: Array(tokens.prefix(count)), targets: Array(targets.prefix(count)), sequences: 1)
                ))
        }
        let sum = documents.reduce(0) { $0 + $1.sum }
        #expect(abs(total.sum - sum) < 1e-4 * sum)

        let batches = try evaluator.losses(batchSize: 7)
        #expect(batches.map(\.count).reduce(0, +) == total.count)
        let means = stride(from: 0, to: documents.count, by: 7).map { start in
            let batch = documents[start..<min(start + 7, documents.count)]
            return batch.reduce(0) { $0 + $1.sum } / Double(batch.reduce(0) { $0 + $1.count })
        }
        let number = Evaluator.galoreLoss(batches)
        #expect(abs(number - means.reduce(0, +) / Double(means.count + 1)) < 1e-4)
        #expect(
            abs(Evaluator.galoreLoss([TokenLoss(sum: 10, count: 5), TokenLoss(sum: 6, count: 2)]) - 5.0 / 3) < 1e-12)
        let printed = exp(
            Evaluator.galoreLoss([TokenLoss](repeating: TokenLoss(sum: log(34.73), count: 1), count: 182)))
        let text = try String(contentsOf: repositoryRoot.appending(path: "docs/huggingface.md"), encoding: .utf8)
        #expect(text.contains(String(format: "a perplexity of %.2f is one of 34.73", printed)))
    }

    @Test("A part of the evaluation data is as many whole documents as hold so many tokens")
    func partialEvaluation() throws {
        let run = try makeRun()
        let data = try dataset(run, "validation.bin")
        let config = try run.configuration([]).model
        let model = LLaMA(config: config, pool: WorkerPool(threads: 1), microBatchSize: 4, sequenceLength: 16)
        model.initialize(seed: 1)
        let half = Evaluator(model: model, dataset: data, tokens: data.targetCount / 2, microBatchSize: 4)
        #expect(half.tokenCount > data.targetCount / 3 && half.tokenCount < 2 * data.targetCount / 3)
        #expect(try half.loss().count == half.tokenCount)
        for tokens in 1...data.targetCount {
            let part = Evaluator(model: model, dataset: data, tokens: tokens, microBatchSize: 4).tokenCount
            // A document has 15 targets at most.
            #expect(part >= tokens && part < tokens + 45, "\(part) for \(tokens)")
        }
    }

    @Test("A run by tokens is refused, for documents differ in length; so are shards that say nothing of ends")
    func refusals() throws {
        let run = try makeRun()
        let tokens = #expect(throws: UserError.self) {
            try run.configuration(["data.packing=documents", "training.steps=null", "training.tokens=1000"])
        }
        #expect(tokens?.message.contains("training.tokens: documents differ in length") == true)
        let foreign = try TinyRun()
        let error = #expect(throws: UserError.self) { try foreign.train("run", "data.packing=documents") }
        #expect(error?.message.contains("does not say which id ends a document") == true)
        #expect(!FileManager.default.fileExists(atPath: foreign.folder.file("run")))
    }
}
