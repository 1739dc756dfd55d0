import Foundation
import TensorCore
import TestSupport
import Testing
import TokenData

/// Tokenizers keep every byte of text, unless one chooses otherwise.
@Suite struct LosslessTests {
    private func train(
        _ folder: URL, _ type: TokenizerTraining.ModelType, _ change: (inout TokenizerTraining) -> Void = { _ in }
    ) throws -> Tokenizer {
        let documents =
            sampleDocuments(200)
            + hardTexts.filter { $0.utf8.count < 1000 && $0.unicodeScalars.allSatisfy { $0.value < 0x400 } } + [
                "  if ka:\n      to == mi\n"
            ]
        var training = TokenizerTraining(
            inputs: [try folder.write("text.jsonl", jsonLines(documents))],
            output: folder.appending(path: "t.model").path, vocabularySize: 800)
        training.modelType = type
        change(&training)
        #expect(try training.run().losses == Tokenizer(modelFile: training.output).losses)
        return try Tokenizer(modelFile: training.output)
    }

    @Test(arguments: TokenizerTraining.ModelType.allCases)
    func everyByteOfTextReturns(_ type: TokenizerTraining.ModelType) throws {
        try withTemporaryFolder { folder in
            let tokenizer = try train(folder, type)
            #expect(tokenizer.losses == [])
            // Bytes: strings that are canonically equivalent are equal.
            for text in hardTexts {
                #expect(
                    try Array(tokenizer.decode(tokenizer.encode(text)).utf8) == Array(text.utf8),
                    "\(text.debugDescription)")
            }
            for block in stride(from: UInt32(0), to: 0x110000, by: 0x100) {
                let text = String(String.UnicodeScalarView((block..<block + 0x100).compactMap(Unicode.Scalar.init)))
                #expect(try Array(tokenizer.decode(tokenizer.encode(text)).utf8) == Array(text.utf8), "\(block)")
            }
            // Indentation is worth pieces, and a line's end does not hide what follows.
            #expect(try tokenizer.encode("ka      to").count < 8)
        }
    }

    /// Documents of all kinds come back from shards as they were, however long and however they are cut.
    @Test func everyByteOfDocumentsReturns() throws {
        try withTemporaryFolder { folder in
            let tokenizer = try train(folder, .unigram)
            var random = Random(seed: 3, stream: "long")
            let long = (0..<30_000).map { _ in ["ka", "to", "miren", "\u{65e5}", "\n"][random.below(5)] }
            let documents = hardTexts + [long.joined(separator: " "), long.joined(), long.joined(separator: "   ")]
            for (name, content) in [("a.jsonl", try jsonLines(documents)), ("b.txt", long.joined())] {
                let tokenization = Tokenization(
                    inputs: [try folder.write(name, content)], output: folder.path + "/" + name + ".d")
                let summary = try tokenization.run(tokenizer: tokenizer, pool: WorkerPool(threads: 2))
                let ids = tokens(inShard: [UInt8](try Data(contentsOf: URL(filePath: summary.shards[0]))))
                let texts = try ids.split(separator: 1).map { Array(try tokenizer.decode(Array($0)).utf8) }
                #expect(texts == (name == "b.txt" ? [Array(content.utf8)] : documents.map { Array($0.utf8) }))
                // The same ids as at once, whatever the pieces in which the file was read.
                #expect(
                    try ids.dropLast() == (name == "b.txt" ? tokenizer.encode(content) : Array(ids.dropLast()))[...])
            }
        }
    }

    @Test func whatIsLossyIsSaid() throws {
        try withTemporaryFolder { folder in
            let without = try train(folder, .bpe) { $0.byteFallback = false }
            #expect(without.losses == ["characters outside the vocabulary become <unk>"])
            let normalizing = try train(folder, .bpe) {
                $0.normalization = .nmt_nfkc
                $0.force = true
            }
            #expect(
                normalizing.losses
                    == ["characters are replaced (nmt_nfkc)", "spaces are joined and those at the ends dropped"])
            #expect(try normalizing.decode(normalizing.encode("ka\n  to")) == "ka to")
        }
    }
}
