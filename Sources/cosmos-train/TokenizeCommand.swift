import ArgumentParser
import Console
import Foundation
import TensorCore
import TokenData
import Training

struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize", abstract: "Turn text into token shards to train on.",
        discussion: """
            Reads C4's format (.json.gz, .jsonl.gz, .json, .jsonl: one JSON object a line with a `text`) and plain \
            text (.txt, .txt.gz: one document a file), encodes each document with any SentencePiece model (T5's, \
            LLaMA's, your own), appends the end-of-text id, and writes DIR/PREFIX_000000.bin and so on. The shards \
            do not depend on the number of threads, and appear only when all of them are complete. Parquet, and text \
            for a tokenizer.json, come in by scripts/import_data.py.

            Example: cosmos-train tokenize --tokenizer data/c4/tokenizer.model --input 'data/c4/c4-train.*.json.gz' \
            --output data/c4/train
            """)

    @Option(help: "The SentencePiece model file.")
    var tokenizer: String

    @Option(name: .long, parsing: .upToNextOption, help: "Files, folders or globs to read.")
    var input: [String]

    @Option(help: "The folder for the shards; made if it is not there.")
    var output: String

    @Option(parsing: .unconditional, help: "Tokens in a shard.")
    var shardTokens = 100_000_000

    @Option(help: "What the shards' names begin with.")
    var prefix = "train"

    @Option(
        name: .customLong("end-of-text-id"), parsing: .unconditional,
        help: "Id after each document (default: the tokenizer's </s>).")
    var endOfTextID: Int32?

    @OptionGroup var workers: ThreadsOption

    @Flag(help: "Go on after lines that hold no document, and count them.")
    var skipBadLines = false

    @Flag(help: "Replace shards of the same prefix.")
    var force = false

    func run() throws {
        let start = StatusLine.now()
        var tokenization = Tokenization(inputs: input, output: output)
        tokenization.shardTokens = shardTokens
        tokenization.prefix = prefix
        tokenization.endOfTextID = endOfTextID
        tokenization.skipsBadLines = skipBadLines
        tokenization.force = force
        Interruption.stopInGoodOrder()
        let tokenizer = try Tokenizer(modelFile: tokenizer)
        let summary: Tokenization.Summary
        do {
            summary = try tokenization.run(
                tokenizer: tokenizer, pool: workers.makePool(),
                cancellation: Interruption.flag, notice: printToStandardError)
        } catch is CancellationError {
            // Nothing can go on: the same command begins anew.
            Interruption.end()
        }
        let seconds = StatusLine.now() - start

        func share(_ part: Int) -> String? {
            if part == 0 { return nil }
            return Format.grouped(part) + String(format: " (%.3f %%)", 100 * Double(part) / Double(summary.tokens))
        }
        let speed = Format.bytes(Int(Double(summary.textBytes) / max(seconds, 1e-9)))
        try printResult(
            alignedTable([
                ("lossy", tokenizer.losses.isEmpty ? nil : tokenizer.losses.joined(separator: "; ")),
                ("documents", Format.grouped(summary.documents)),
                ("empty documents left out", summary.emptyDocuments > 0 ? Format.grouped(summary.emptyDocuments) : nil),
                ("bad lines skipped", summary.skippedLines > 0 ? Format.grouped(summary.skippedLines) : nil),
                ("text", "\(Format.bytes(summary.textBytes)) (\(Format.grouped(summary.textBytes)) bytes)"),
                ("tokens", Format.grouped(summary.tokens)),
                ("unknown tokens", share(summary.unknownTokens)),
                ("bytes per token", String(format: "%.3f", Double(summary.textBytes) / Double(summary.tokens))),
                (
                    "unigram entropy",
                    String(
                        format: "%.4f nats (perplexity %.1f)", summary.unigramEntropy, exp(summary.unigramEntropy))
                ),
                ("shards", "\(summary.shards.count): \(summary.shards[0])" + (summary.shards.count > 1 ? " ..." : "")),
                ("time", "\(Format.duration(seconds)) (\(speed)/s)"),
            ]))
    }
}
