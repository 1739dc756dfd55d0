import ArgumentParser
import Checkpoints
import Console
import Foundation
import Generation
import LLaMA
import TensorCore
import TokenData

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Continue a text with a trained model.",
        discussion: """
            Writes the prompt and its continuation to standard output as it comes, until the model ends the text. The \
            same seed gives the same text, with any number of threads.

            Examples:
              cosmos-train generate runs/quickstart --prompt "This package provides"
              cosmos-train generate runs/quickstart --samples 3 --temperature 0.7 --top-p 0.9 --seed 42
            """)

    @OptionGroup var given: ModelArgument

    @Option(parsing: .unconditional, help: "The text to continue (default: the beginning of a document).")
    var prompt = ""

    @Option(parsing: .unconditional, help: "The most tokens to add.")
    var maxTokens = 200

    @Option(
        parsing: .unconditional,
        help: "Divides the logits: below 1 safer, above 1 wilder; 0 takes the most probable token.")
    var temperature = 0.8

    @Option(parsing: .unconditional, help: "Choose among this many most probable tokens; 0: all.")
    var topK = 0

    @Option(
        parsing: .unconditional,
        help: "Choose among the most probable tokens that together have this probability; 1: all.")
    var topP = 0.95

    @Option(parsing: .unconditional, help: "Of the random choices.")
    var seed: UInt64 = 1

    @Option(parsing: .unconditional, help: "Number of texts.")
    var samples = 1

    @Option(help: "A SentencePiece model (default: the model's tokenizer.model).")
    var tokenizer: String?

    @OptionGroup var workers: ThreadsOption

    func validate() throws {
        for (name, value) in [("--max-tokens", maxTokens), ("--samples", samples)] where value < 1 {
            throw ValidationError("\(name) \(value): must be greater than 0")
        }
        if topK < 0 { throw ValidationError("--top-k \(topK): must be 0 or greater") }
        if !(temperature >= 0 && temperature.isFinite) {
            throw ValidationError("--temperature \(temperature): must be 0 or greater")
        }
        if !(topP > 0 && topP <= 1) { throw ValidationError("--top-p \(topP): must be above 0 and at most 1") }
    }

    func run() throws {
        let pool = workers.makePool()
        let folder = try ModelFolder(given.model, pool: pool)
        guard let tokenizer = try tokenizer.map({ try Tokenizer(modelFile: $0) }) ?? folder.loadTokenizer() else {
            let hasOther = access("\(folder.path)/tokenizer.json", F_OK) == 0
            throw UserError(
                .usage,
                "\(folder.path) has no tokenizer.model"
                    + (hasOther ? ", only a tokenizer.json, which SentencePiece cannot read" : ""),
                hint: hasOther
                    ? "let transformers generate: AutoTokenizer and AutoModelForCausalLM.from_pretrained(\"\(folder.path)\")"
                    : "name one with --tokenizer")
        }
        try folder.check(
            TokenizerOrigin(tokenizer), hint: "leave --tokenizer away, or name the one that the model was trained with")
        let model = try folder.loadModel(pool: pool, microBatchSize: 1, sequenceLength: 1)
        let generator = try TextGenerator(
            model: model, tokenizer: tokenizer, start: folder.startOfText(tokenizer),
            maxLength: folder.config.maxPositionEmbeddings)
        let sampling = Sampling(temperature: temperature, topK: topK, topP: topP)
        let started = StatusLine.now()
        var tokens = 0
        for sample in 1...samples {
            if samples > 1 { try write("\(sample == 1 ? "" : "\n")--- sample \(sample) of \(samples) ---\n") }
            var random = Random(seed: seed, stream: "sample \(sample)")
            let (count, ending) = try generator.generate(
                prompt: prompt, maxTokens: maxTokens, sampling: sampling, random: &random, emit: write)
            try write("\n")
            tokens += count
            if ending == .contextLength {
                printToStandardError(
                    "note: the model's context of \(folder.config.maxPositionEmbeddings) tokens is full")
            }
        }
        let seconds = StatusLine.now() - started
        printToStandardError(
            "\(tokens) tokens in \(Format.duration(seconds)), \(Format.rate(Double(tokens) / seconds)) tokens/s")
    }

    private func write(_ text: String) throws { try printResult(text, terminator: "") }
}
