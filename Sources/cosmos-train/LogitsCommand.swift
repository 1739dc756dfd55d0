import ArgumentParser
import Checkpoints
import Console
import Foundation
import LLaMA
import ModelFiles
import TensorCore

struct LogitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logits", abstract: "Write a model's logits for a sequence of token ids.",
        discussion: """
            Writes a safetensors file with one float32 tensor, `logits`, of shape [tokens, vocab_size]: row t holds \
            the scores of every id to follow the first t + 1 tokens. To compare with another implementation.

            Example: cosmos-train logits runs/quickstart --tokens 17 5 301 --output logits.safetensors
            """)

    @OptionGroup var given: ModelArgument

    @Option(parsing: .upToNextOption, help: "The token ids.")
    var tokens: [Int32]

    @Option(help: "The file to write; it must not exist.")
    var output: String

    @OptionGroup var workers: ThreadsOption

    func run() throws {
        let folder = try ModelFolder(given.model)
        let config = folder.config
        _ = try folder.loadTokenizer()
        if let id = tokens.first(where: { $0 < 0 || $0 >= config.vocabSize }) {
            throw UserError(
                .usage, "token id \(id) is outside the model's vocabulary of \(config.vocabSize)",
                hint: "ids run from 0 to \(config.vocabSize - 1)")
        }
        guard !tokens.isEmpty, tokens.count <= config.maxPositionEmbeddings else {
            throw UserError(
                .usage, "\(tokens.count) tokens; the model takes 1 to \(config.maxPositionEmbeddings)",
                hint: "give fewer with --tokens")
        }
        guard !FileManager.default.fileExists(atPath: output) else {
            throw UserError(.usage, "\(output) is already there", hint: "give --output a file that does not exist")
        }
        let model = try folder.loadModel(
            pool: workers.makePool(), microBatchSize: 1, sequenceLength: tokens.count)
        let logits = try model.logits(tokens: tokens, sequences: 1)
        try SafeTensors.write([NamedTensor("logits", logits)], to: output)
        try printResult(
            alignedTable([
                ("model", folder.path), ("logits", "\(output), \(tokens.count) x \(config.vocabSize)"),
            ]))
    }
}
