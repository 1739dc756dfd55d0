import Console
import Foundation
import TensorCore
import TestSupport
import Testing
import TokenData

@Suite struct TokenizerTests {
    @Test func decodingGivesTheTextBack() throws {
        try withTemporaryFolder { folder in
            let tokenizer = try SampleTokenizer.load(in: folder)
            for document in sampleDocuments(20, seed: 7) {
                let text = document.replacingOccurrences(of: "\n", with: " ")
                let ids = try tokenizer.encode(text)
                #expect(ids.allSatisfy { $0 > 2 && $0 < tokenizer.vocabularySize })
                #expect(try tokenizer.decode(ids) == text)
                #expect(
                    ids.map { tokenizer.piece($0) }.joined() == "\u{2581}"
                        + text.replacingOccurrences(of: " ", with: "\u{2581}"))
            }
            #expect(try tokenizer.encode("") == [])
            #expect(try tokenizer.decode([]) == "")
        }
    }

    @Test func specialIDsAreThoseAskedFor() throws {
        try withTemporaryFolder { folder in
            let tokenizer = try SampleTokenizer.load(in: folder)
            #expect(tokenizer.vocabularySize == 300)
            #expect(tokenizer.padID == 0)
            #expect(tokenizer.endOfTextID == 1)
            #expect(tokenizer.unknownID == 2)
            #expect(tokenizer.beginOfTextID == nil)
            #expect(tokenizer.piece(1) == "</s>")
            #expect(try tokenizer.encode("\u{4E00}").contains(2))
        }
    }

    @Test func threadsShareOneTokenizer() throws {
        try withTemporaryFolder { folder in
            let tokenizer = try SampleTokenizer.load(in: folder)
            let documents = sampleDocuments(200, seed: 3)
            let expected = try documents.map { try tokenizer.encode($0) }
            try WorkerPool(threads: 4).forEach(documents.count, cancellation: nil) { index, _ in
                let ids = try tokenizer.encode(documents[index])
                if ids != expected[index] { throw UserError(.data, "document \(index) has other ids on a thread") }
            }
        }
    }

    @Test func theFingerprintTellsTokenizersApart() throws {
        try withTemporaryFolder { folder in
            let first = try SampleTokenizer.load(in: folder)
            let same = try Tokenizer(modelFile: folder.write("same.model", SampleTokenizer.model))
            var training = TokenizerTraining(
                inputs: [try folder.write("a.txt", sampleDocuments(50).joined(separator: "\n"))],
                output: folder.appending(path: "other.model").path, vocabularySize: 320)
            training.modelType = .bpe
            _ = try training.run()
            #expect(first.fingerprint == same.fingerprint)
            #expect(try Tokenizer(modelFile: training.output).fingerprint != first.fingerprint)
        }
    }

    @Test(arguments: ["empty", "text", "truncated", "random"]) func aFileThatIsNoTokenizerIsRefused(_ kind: String)
        throws
    {
        try withTemporaryFolder { folder in
            var random = Random(seed: 5, stream: "bytes")
            let content: [UInt8] =
                switch kind {
                case "empty": []
                case "text": Array("This is a text.\n".utf8)
                case "truncated": Array(SampleTokenizer.model.prefix(1000))
                default: (0..<5000).map { _ in UInt8(random.below(256)) }
                }
            let path = try folder.write("x.model", content)
            let error = try #require(try userError { try Tokenizer(modelFile: path) })
            #expect(error.kind == .data)
            #expect(error.message.contains(path))
            #expect(error.hint?.contains("SentencePiece") == true)
        }
    }

    @Test func aMissingFileIsAnInputError() throws {
        let error = try userError { try Tokenizer(modelFile: "/nowhere/x.model") }
        #expect(error?.kind == .inputOutput)
        #expect(error?.message.contains("/nowhere/x.model") == true)
    }

    @Test func decodingRefusesIDsBeyondTheVocabulary() throws {
        try withTemporaryFolder { folder in
            let tokenizer = try SampleTokenizer.load(in: folder)
            #expect(try userError { try tokenizer.decode([5, 300]) }?.message.contains("300") == true)
            #expect(try userError { try tokenizer.decode([-1]) } != nil)
        }
    }

    /// LLaMA's own tokenizer, where a file of it is given.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["COSMOS_LLAMA_TOKENIZER"] != nil))
    func llamaTokenizerFallsBackToBytes() throws {
        let path = try #require(ProcessInfo.processInfo.environment["COSMOS_LLAMA_TOKENIZER"])
        let tokenizer = try Tokenizer(modelFile: path)
        #expect(tokenizer.vocabularySize == 32000)
        #expect(tokenizer.endOfTextID == 2)
        #expect(tokenizer.beginOfTextID == 1)
        #expect(tokenizer.padID == nil)
        #expect(try tokenizer.encode("Hello world") == [15043, 3186])
        let text = "line\n\u{1F980} \u{4E00}"
        #expect(try tokenizer.decode(tokenizer.encode(text)) == text)
    }
}
