import ArgumentParser
import Console
import TokenData

struct TokenizerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenizer", abstract: "Train a tokenizer (a SentencePiece model) on text.",
        discussion: """
            Reads C4's format (.json.gz, .jsonl.gz, .json, .jsonl: one JSON object a line with a `text`) and plain \
            text (.txt, .txt.gz: one document a file), and writes a .model file. Unless you choose otherwise, it keeps \
            every byte of text: what is encoded is decoded as it was. The special ids are T5's unless given.

            Example: cosmos-train tokenizer --input data/c4/train --output data/c4/tokenizer.model --vocab-size 32000
            """)

    @Option(name: .long, parsing: .upToNextOption, help: "Files, folders or globs to train on.")
    var input: [String]

    @Option(help: "The model file to write.")
    var output: String

    @Option(parsing: .unconditional, help: "Number of pieces, special ones included (up to 65536).")
    var vocabSize: Int

    @Option(help: "Algorithm: \(names(TokenizerTraining.ModelType.self)).")
    var modelType = TokenizerTraining.ModelType.unigram

    @Option(parsing: .unconditional, help: "Id of the padding piece <pad>; -1: none.")
    var padID = 0

    @Option(parsing: .unconditional, help: "Id of the end-of-text piece </s>; -1: none.")
    var eosID = 1

    @Option(parsing: .unconditional, help: "Id of the begin-of-text piece <s>; -1: none.")
    var bosID = -1

    @Option(parsing: .unconditional, help: "Id of the unknown piece <unk>.")
    var unkID = 2

    @Flag(
        inversion: .prefixedNo,
        help: "Whether characters outside the vocabulary become their UTF-8 bytes (256 pieces), or <unk>.")
    var byteFallback = true

    @Option(parsing: .unconditional, help: "Share of the text's characters that the vocabulary must cover, 0.98 to 1.")
    var characterCoverage = 0.9995

    @Option(
        help: """
            What text goes through first: \(names(TokenizerTraining.Normalization.self)). All but identity lose \
            something, line ends and indentation among it; T5 has nmt_nfkc.
            """)
    var normalization = TokenizerTraining.Normalization.identity

    @Option(parsing: .unconditional, help: "Sentences to use, sampled from all of them; 0: all. Memory grows with it.")
    var maxSentences = 1_000_000

    @Option(parsing: .unconditional, help: "Longest sentence in bytes; a longer line is split at spaces.")
    var maxSentenceLength = 4192

    @Option(parsing: .unconditional, help: "Seed of the sampling.")
    var seed: UInt32 = 1

    @Flag(help: "Go on after lines that hold no document, and count them.")
    var skipBadLines = false

    @Flag(help: "Replace an existing model file.")
    var force = false

    func run() throws {
        var training = TokenizerTraining(inputs: input, output: output, vocabularySize: vocabSize)
        training.modelType = modelType
        training.padID = padID
        training.endOfTextID = eosID
        training.beginOfTextID = bosID
        training.unknownID = unkID
        training.byteFallback = byteFallback
        training.characterCoverage = characterCoverage
        training.normalization = normalization
        training.maxSentences = maxSentences
        training.maxSentenceLength = maxSentenceLength
        training.seed = seed
        training.skipsBadLines = skipBadLines
        training.force = force
        let summary = try training.run(notice: printToStandardError)
        try printResult(
            alignedTable([
                ("tokenizer", output),
                ("pieces", Format.grouped(summary.vocabularySize)),
                ("lossy", summary.losses.isEmpty ? nil : summary.losses.joined(separator: "; ")),
                ("documents", Format.grouped(summary.documents)),
                ("sentences", Format.grouped(summary.sentences)),
                ("text", Format.bytes(summary.textBytes)),
                ("bad lines skipped", summary.skippedLines > 0 ? Format.grouped(summary.skippedLines) : nil),
                ("time", Format.duration(summary.seconds)),
            ]))
    }
}

extension TokenizerTraining.ModelType: ExpressibleByArgument {}
extension TokenizerTraining.Normalization: ExpressibleByArgument {}

private func names<Value: CaseIterable & RawRepresentable<String>>(_ type: Value.Type) -> String {
    type.allCases.map(\.rawValue).joined(separator: ", ")
}
