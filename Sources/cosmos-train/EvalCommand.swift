import ArgumentParser
import Checkpoints
import Configuration
import Console
import Foundation
import LLaMA
import Settings
import TensorCore
import TokenData
import Training

/// Evaluations of others whose numbers stand in papers.
enum EvaluationProtocol: String, CaseIterable, ExpressibleByArgument {
    case galore
}

extension Packing: ExpressibleByArgument {
    public init?(argument: String) {
        try? self.init(configuration: ConfigurationNode(.scalar(argument, isQuoted: false), source: "--packing"))
    }
}

struct EvalCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval", abstract: "Measure a model's loss and perplexity.",
        discussion: """
            Prints the exact mean loss over the tokens, each weighing the same, its perplexity, and for comparison the \
            entropy of the tokens' frequencies: the loss of a model that looks at no context.

            --protocol galore adds the number that GaLore's code would print, with which much of the literature \
            compares: the mean of the batches' means, divided by their number plus one. It takes a document a \
            sequence (--packing false), batches of 256 and 10 million tokens.

            Examples:
              cosmos-train eval runs/quickstart
              cosmos-train eval runs/llama130m/checkpoints/step-00005000 --data data/c4/validation --tokens 10000000
            """)

    @OptionGroup var given: ModelArgument

    @Option(help: "Token shards: a folder, a file or a glob (default: the run's data.validation).")
    var data: String?

    @Option(parsing: .unconditional, help: "Tokens to evaluate, spread evenly over the data (default: all).")
    var tokens: Int?

    @Option(
        parsing: .unconditional,
        help: "Tokens of a sequence (default: the run's data.sequence_length, or the model's maximum).")
    var sequenceLength: Int?

    @Option(
        help:
            "true or false: documents one after the other, or one a sequence (default: the run's data.packing, or true)."
    )
    var packing: Packing?

    @Option(name: .customLong("protocol"), help: "Print the number of another evaluation beside the exact one: galore.")
    var comparison: EvaluationProtocol?

    @Option(parsing: .unconditional, help: "With --protocol: sequences of a batch, on which its number depends.")
    var batchSize = 256

    @Option(parsing: .unconditional, help: "Sequences computed at once, at most 1024.")
    var microBatchSize = 8

    @OptionGroup var workers: ThreadsOption

    func validate() throws {
        for (name, value) in [
            ("--tokens", tokens), ("--sequence-length", sequenceLength), ("--batch-size", batchSize),
        ] { try check(name, value, 1...1 << 40) }
        try check("--micro-batch-size", microBatchSize, 1...1024)
    }

    func run() throws {
        let pool = workers.makePool()
        let folder = try ModelFolder(given.model, pool: pool)
        let run = try runData(folder)
        guard let path = data ?? run?.validation else {
            throw UserError(
                .usage, "there is no validation data to be found for \(given.model)", hint: "name it with --data")
        }
        let length = sequenceLength ?? run?.sequenceLength ?? folder.config.maxPositionEmbeddings
        guard length <= folder.config.maxPositionEmbeddings else {
            throw UserError(
                .usage,
                "sequences of \(length) are longer than the model's \(folder.config.maxPositionEmbeddings) tokens",
                hint: "give a smaller --sequence-length")
        }
        let dataset = try TokenDataset(
            path: path, sequenceLength: length, vocabularySize: folder.config.vocabSize,
            packing: packing ?? run?.packing ?? .stream, pool: pool)
        try folder.check(
            TokenizerOrigin(dataset, at: path),
            hint: "tokenize the text with the model's tokenizer, its tokenizer.model")
        let model = try folder.loadModel(pool: pool, microBatchSize: microBatchSize, sequenceLength: length)
        let evaluator = Evaluator(model: model, dataset: dataset, tokens: tokens, microBatchSize: microBatchSize)

        let bar = ProgressBar("evaluating", total: evaluator.tokenCount, unit: .items("tokens"))
        var done = 0
        let batches = try evaluator.losses(batchSize: comparison == nil ? microBatchSize : batchSize) {
            bar.advance(by: $0 - done)
            done = $0
        }
        bar.finish()
        let loss = batches.reduce(into: TokenLoss()) { $0 += $1 }
        guard loss.sum.isFinite else {
            throw UserError(.data, "the loss of \(folder.path) is not finite", hint: "evaluate an earlier checkpoint")
        }
        var rows: [(name: String, value: String?)] = [
            ("model", folder.path),
            ("data", path),
            ("tokens", Format.grouped(loss.count)),
            ("loss", "\(loss.mean)"),
            ("perplexity", "\(exp(loss.mean))"),
            ("unigram entropy", "\(try evaluator.unigramEntropy())"),
        ]
        if comparison == .galore {
            let number = Evaluator.galoreLoss(batches)
            rows += [
                ("batches", "\(batches.count) of \(batchSize) sequences"), ("loss by GaLore's code", "\(number)"),
                ("perplexity by GaLore's code", "\(exp(number))"),
            ]
        }
        try printResult(alignedTable(rows))
    }

    /// What the run says of its data. No configuration of it may read though the model is whole; then the data must
    /// be named, and the rest is as of a model without a run.
    private func runData(_ folder: ModelFolder) throws -> DataSettings? {
        do {
            return try folder.runConfiguration { printToStandardError("warning: \($0)") }?.data
        } catch let error as UserError {
            guard data != nil else {
                throw UserError(error.kind, error.message, hint: "mend the file, or name the data with --data")
            }
            printToStandardError(
                "note: \(error.message); so the length of sequences and the packing are not the run's, but "
                    + "what --sequence-length and --packing say or their defaults")
            return nil
        }
    }
}
