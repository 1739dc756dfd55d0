import Console
import Foundation
import TestSupport
import Testing
import TokenData

@Suite struct TokenizerTrainingTests {
    private func training(in folder: URL, _ documents: [String] = sampleDocuments(200)) throws -> TokenizerTraining {
        var training = TokenizerTraining(
            inputs: [try folder.write("text.jsonl", jsonLines(documents))],
            output: folder.appending(path: "t.model").path, vocabularySize: 200)
        training.byteFallback = false
        return training
    }

    @Test(arguments: TokenizerTraining.ModelType.allCases)
    func theSameTextMakesTheSameModel(_ type: TokenizerTraining.ModelType) throws {
        try withTemporaryFolder { folder in
            var training = try training(in: folder)
            training.modelType = type
            training.maxSentences = 500
            let summary = try training.run()
            let first = try folder.bytes("t.model")
            training.force = true
            _ = try training.run()
            #expect(try folder.bytes("t.model") == first)
            #expect(summary.documents == 200)
            #expect(summary.vocabularySize == 200)
            #expect(summary.textBytes == sampleDocuments(200).reduce(0) { $0 + $1.utf8.count })
            #expect(try folder.names() == ["t.model", "text.jsonl"])
        }
    }

    @Test func settingsReachTheModel() throws {
        try withTemporaryFolder { folder in
            var training = try training(in: folder)
            training.modelType = .bpe
            training.vocabularySize = 400
            training.byteFallback = true
            (training.padID, training.unknownID, training.beginOfTextID, training.endOfTextID) = (-1, 0, 1, 2)
            _ = try training.run()
            let tokenizer = try Tokenizer(modelFile: training.output)
            #expect(tokenizer.padID == nil)
            #expect(tokenizer.unknownID == 0)
            #expect(tokenizer.beginOfTextID == 1)
            #expect(tokenizer.endOfTextID == 2)
            let text = "kato \u{1F980}\nmi"
            #expect(try tokenizer.decode(tokenizer.encode(text)) == text)
        }
    }

    @Test func longLinesAreSplitNotDropped() throws {
        try withTemporaryFolder { folder in
            // One line of 30,000 bytes: SentencePiece itself would leave it out.
            let line = (0..<5000).map { ["kato", "miren", "solve"][$0 % 3] }.joined(separator: " ")
            var training = TokenizerTraining(
                inputs: [try folder.write("one.txt", line)], output: folder.appending(path: "t.model").path,
                vocabularySize: 26)
            (training.modelType, training.byteFallback) = (.bpe, false)
            training.maxSentenceLength = 100
            let summary = try training.run()
            #expect(summary.sentences >= line.utf8.count / 100)
            #expect(try Tokenizer(modelFile: training.output).encode(line).count < 20_000)
        }
    }

    @Test func plainTextAndJSONLinesGiveTheSameModel() throws {
        try withTemporaryFolder { folder in
            let text = sampleDocuments(200).joined(separator: "\n")
            var training = try training(in: folder, [text])
            _ = try training.run()
            let first = try folder.bytes("t.model")
            training.inputs = [try folder.gzip(folder.write("text.txt", text))]
            training.force = true
            _ = try training.run()
            #expect(try folder.bytes("t.model") == first)
        }
    }

    @Test func anExistingFileIsKept() throws {
        try withTemporaryFolder { folder in
            let training = try training(in: folder)
            _ = try folder.write("t.model", "mine")
            let error = try userError { try training.run() }
            #expect(error?.kind == .usage)
            #expect(error?.hint?.contains("--force") == true)
            #expect(try folder.bytes("t.model") == Array("mine".utf8))
        }
    }

    @Test func whatSentencePieceRefusesIsExplained() throws {
        try withTemporaryFolder { folder in
            var training = try training(in: folder, sampleDocuments(5))
            training.vocabularySize = 20_000
            let high = try userError { try training.run() }
            #expect(high?.kind == .data)
            #expect(high?.message.contains("too high") == true)
            #expect(high?.hint?.contains("--vocab-size") == true)
            training.vocabularySize = 5
            #expect(try userError { try training.run() }?.hint?.contains("larger --vocab-size") == true)
            #expect(try folder.names() == ["text.jsonl"])
        }
    }

    @Test func inputWithoutTextIsRefused() throws {
        try withTemporaryFolder { folder in
            let training = try training(in: folder, ["", " \n "])
            let error = try userError { try training.run() }
            #expect(error?.kind == .data)
            #expect(error?.message.contains("no text") == true)
        }
    }

    @Test func impossibleSettingsAreRefused() throws {
        func error(_ change: (inout TokenizerTraining) -> Void) throws -> UserError? {
            var training = TokenizerTraining(inputs: ["x.txt"], output: "/nowhere/m.model", vocabularySize: 100)
            change(&training)
            return try userError { try training.run() }
        }
        for (change, value) in [
            ({ $0.vocabularySize = 70_000 }, "70000"), ({ $0.vocabularySize = 0 }, "0"),
            ({ $0.unknownID = -1 }, "--unk-id"),
            ({ $0.padID = 1 }, "--pad-id and --eos-id"), ({ $0.padID = 100 }, "100"), ({ $0.beginOfTextID = -2 }, "-2"),
            ({ $0.characterCoverage = 0.5 }, "0.5"), ({ $0.characterCoverage = .nan }, "nan"),
            ({ $0.maxSentences = 5 }, "5"),
            ({ $0.maxSentenceLength = 0 }, "--max-sentence-length"),
        ] as [((inout TokenizerTraining) -> Void, String)] {
            let error = try error(change)
            #expect(error?.kind == .usage)
            #expect(error?.message.contains(value) == true, "\(error?.message ?? "no error") lacks \(value)")
        }
    }

    @Test func badLinesStopTheTrainingOrAreSkipped() throws {
        try withTemporaryFolder { folder in
            var training = try training(in: folder)
            let lines =
                try jsonLines(sampleDocuments(100)) + "{\"text\": 3}\n" + jsonLines(sampleDocuments(100, seed: 2))
                + "oops\n"
            training.inputs = [try folder.write("bad.jsonl", lines)]
            let error = try userError { try training.run() }
            #expect(error?.kind == .data)
            #expect(
                error?.message.contains(
                    "bad.jsonl:101: `text` is not a string; 2 bad lines in this file, also at line 202") == true)
            training.skipsBadLines = true
            #expect(try training.run().skippedLines == 2)
        }
    }
}
