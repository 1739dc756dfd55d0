import Console
import Foundation
import TensorCore
import TestSupport
import Testing
import TokenData

@Suite struct TokenizationTests {
    /// Runs a tokenization in `folder`, whose shards go to `folder`/shards, and returns their bytes, too.
    private func tokenize(
        _ inputs: [String], in folder: URL, threads: Int = 1, _ change: (inout Tokenization) -> Void = { _ in }
    ) throws -> (summary: Tokenization.Summary, shards: [[UInt8]]) {
        var tokenization = Tokenization(inputs: inputs, output: folder.path + "/shards")
        change(&tokenization)
        let summary = try tokenization.run(
            tokenizer: SampleTokenizer.load(in: folder), pool: WorkerPool(threads: threads))
        return (summary, try summary.shards.map { [UInt8](try Data(contentsOf: URL(filePath: $0))) })
    }

    /// What the shards must hold: each document's ids and the end-of-text id.
    private func expectedTokens(_ documents: [String], in folder: URL) throws -> [Int32] {
        let tokenizer = try SampleTokenizer.load(in: folder)
        return try documents.flatMap { try tokenizer.encode($0) + [1] }
    }

    @Test func documentsAndEndsOfTextFillTheShards() throws {
        try withTemporaryFolder { folder in
            let documents = sampleDocuments(300)
            let input = try folder.write("a.jsonl", jsonLines(documents))
            let expected = try expectedTokens(documents, in: folder)
            let (summary, shards) = try tokenize([input], in: folder) { $0.shardTokens = 1000 }
            #expect(shards.flatMap(tokens(inShard:)) == expected)
            #expect(shards.dropLast().allSatisfy { $0.count == 1024 + 2000 })
            #expect(shards.count == (expected.count + 999) / 1000)
            #expect(summary.documents == 300)
            #expect(summary.tokens == expected.count)
            #expect(summary.unknownTokens == 0)
            #expect(summary.textBytes == documents.reduce(0) { $0 + $1.utf8.count })
            // The entropy by its definition.
            let counts = Dictionary(grouping: expected) { $0 }.values.map { Double($0.count) / Double(expected.count) }
            #expect(abs(summary.unigramEntropy + counts.reduce(0) { $0 + $1 * log($1) }) < 1e-12)
            #expect(try folder.appending(path: "shards").names().count == shards.count)
        }
    }

    /// A last shard that is exactly full has no empty one after it.
    @Test func shardsMayEndExactly() throws {
        try withTemporaryFolder { folder in
            let documents = sampleDocuments(20)
            let input = try folder.write("a.jsonl", jsonLines(documents))
            let count = try expectedTokens(documents, in: folder).count
            let (_, shards) = try tokenize([input], in: folder) { $0.shardTokens = count }
            #expect(shards.count == 1)
            #expect(tokens(inShard: shards[0]).count == count)
        }
    }

    @Test func theHeaderIsThatOfLLMCAndSaysMore() throws {
        try withTemporaryFolder { folder in
            let input = try folder.write("a.jsonl", jsonLines(sampleDocuments(50)))
            let (_, shards) = try tokenize([input], in: folder) { $0.shardTokens = 300 }
            let fingerprint = try SampleTokenizer.load(in: folder).fingerprint
            for (index, shard) in shards.enumerated() {
                let words = (0..<256).map { word in
                    (0..<4).reduce(UInt32(0)) { $0 | UInt32(shard[4 * word + $1]) << (8 * $1) }
                }
                let payload = Array(shard[1024...])
                #expect(words[0] == 20_240_520 && words[1] == 1 && Int(words[2]) == payload.count / 2)
                #expect(words[3] == 300)
                #expect(words[4] == payload.withUnsafeBytes { crc32($0) })
                #expect(words[5] == 1)
                #expect(UInt64(words[6]) | UInt64(words[7]) << 32 == fingerprint)
                #expect(Int(words[8]) == index && words[9] == (index == shards.count - 1 ? 1 : 0))
                #expect(words[10...].allSatisfy { $0 == 0 })
            }
        }
    }

    /// 3 MB, so that several batches go through, each of many blocks.
    @Test func anyNumberOfThreadsMakesTheSameShards() throws {
        try withTemporaryFolder { folder in
            let documents = sampleDocuments(9_000)
            let middle = documents.count / 3
            let packed = try folder.gzip(folder.write("a.jsonl", jsonLines(Array(documents[..<middle]))))
            let plain = try folder.write("b.json", jsonLines(Array(documents[middle...])))
            let expected = try expectedTokens(documents, in: folder)
            for threads in [1, 2, 5] {
                let (summary, shards) = try tokenize([packed, plain], in: folder, threads: threads) {
                    ($0.shardTokens, $0.force) = (400_000, true)
                }
                #expect(shards.flatMap(tokens(inShard:)) == expected)
                #expect(summary.documents == documents.count)
            }
        }
    }

    @Test func aTextFileIsOneDocumentOfAnySize() throws {
        try withTemporaryFolder { folder in
            // 1 MB comes in many pieces, which must not show in the tokens. Lines and double spaces, too.
            let text = sampleDocuments(3000, seed: 5).joined(separator: "\n\n").replacingOccurrences(
                of: "ka ", with: "ka  ")
            let plain = try folder.write("a.txt", text)
            let packed = try folder.gzip(folder.write("b.txt", text))
            let line = try folder.write("c.jsonl", jsonLines([text]))
            let expected = try expectedTokens([text], in: folder)
            for input in [plain, packed, line] {
                let (summary, shards) = try tokenize([input], in: folder) { $0.force = true }
                #expect(summary.documents == 1)
                #expect(summary.textBytes == text.utf8.count)
                #expect(tokens(inShard: shards[0]) == expected, "\(input)")
            }
        }
    }

    @Test func textWithoutSpacesIsCutBetweenCharacters() throws {
        try withTemporaryFolder { folder in
            let text = String(repeating: "k\u{E9}\u{4E00}\u{1F980}", count: 30_000)
            let (summary, _) = try tokenize([try folder.write("a.txt", text)], in: folder)
            #expect(summary.textBytes == text.utf8.count)
        }
    }

    @Test func everyWayToWriteTheFormatsIsRead() throws {
        try withTemporaryFolder { folder in
            let expected = try expectedTokens(["kato miren", "solve du", "pi \"gor\""], in: folder)
            let lines = [
                #"{"text": "kato miren", "n": [1, {"text": 3}]}"#, #"{"url":"x","text":"solve du"}"#,
                #"{"text":"pi \"g\u006fr\""}"#,
            ]
            let bom: [UInt8] = [0xEF, 0xBB, 0xBF]
            for content in [
                Array((lines.joined(separator: "\n") + "\n").utf8), Array(lines.joined(separator: "\n").utf8),
                Array(lines.joined(separator: "\r\n\r\n  \n").utf8), bom + Array(lines.joined(separator: "\n").utf8),
            ] {
                let (_, shards) = try tokenize([try folder.write("a.jsonl", content)], in: folder) { $0.force = true }
                #expect(tokens(inShard: shards[0]) == expected)
            }
            // Members one after the other, and padding after the last.
            let parts = try lines.enumerated().map { index, line in
                [UInt8](try Data(contentsOf: URL(filePath: folder.gzip(folder.write("\(index).jsonl", line + "\n")))))
            }
            let members = try folder.write("m.json.gz", Array(parts.joined()) + [0, 0, 0])
            #expect(
                try tokenize([members], in: folder) { $0.force = true }.shards.flatMap(tokens(inShard:)) == expected)
            // A folder's files come in the order of their names.
            let inputs = folder.appending(path: "inputs")
            try FileManager.default.createDirectory(at: inputs, withIntermediateDirectories: true)
            for (index, line) in lines.enumerated() { _ = try inputs.write("\(index).jsonl", line) }
            #expect(
                try tokenize([inputs.path], in: folder) { $0.force = true }.shards.flatMap(tokens(inShard:)) == expected
            )
            #expect(
                try tokenize([inputs.path + "/*.jsonl"], in: folder) { $0.force = true }.shards.flatMap(
                    tokens(inShard:)) == expected)
        }
    }

    @Test func emptyDocumentsAreLeftOut() throws {
        try withTemporaryFolder { folder in
            let input = try folder.write("a.jsonl", jsonLines(["", "kato", " ", "miren"]))
            let (summary, shards) = try tokenize([input], in: folder)
            #expect(summary.documents == 2)
            #expect(summary.emptyDocuments == 2)
            #expect(tokens(inShard: shards[0]) == (try expectedTokens(["kato", "miren"], in: folder)))
            let empty = try folder.write("b.jsonl", jsonLines(["", ""]))
            let error = try userError { try tokenize([empty], in: folder) { $0.force = true } }
            #expect(error?.kind == .data)
            #expect(error?.message.contains("no text") == true)
            // The shards of before are still there.
            #expect(try folder.appending(path: "shards").names() == ["train_000000.bin"])
        }
    }

    /// Parquet and token files are common, so the way to import them is named.
    @Test(arguments: ["a.parquet", "a.bin", "a.npy"]) func filesOfOtherToolsAreNamed(_ name: String) throws {
        try withTemporaryFolder { folder in
            let file = try folder.write(name, "PAR1")
            for (input, kind) in [(file, UserError.Kind.usage), (folder.path, .data)] {
                let error = try userError { try tokenize([input], in: folder) }
                #expect(error?.kind == kind)
                #expect(error?.hint?.contains("scripts/import_data.py") == true)
            }
        }
    }

    @Test func theEndOfTextIDCanBeGiven() throws {
        try withTemporaryFolder { folder in
            let input = try folder.write("a.txt", "kato")
            let (_, shards) = try tokenize([input], in: folder) { $0.endOfTextID = 7 }
            #expect(tokens(inShard: shards[0]).last == 7)
            #expect(
                try userError { try tokenize([input], in: folder) { $0.endOfTextID = 300 } }?.message.contains("300")
                    == true)
            var training = TokenizerTraining(
                inputs: [try folder.write("t.jsonl", jsonLines(sampleDocuments(50)))],
                output: folder.path + "/noeos.model", vocabularySize: 320)
            training.endOfTextID = -1
            _ = try training.run()
            let error = try userError {
                try Tokenization(inputs: [input], output: folder.path + "/other")
                    .run(tokenizer: Tokenizer(modelFile: training.output), pool: WorkerPool(threads: 1))
            }
            #expect(error?.kind == .usage)
            #expect(error?.hint?.contains("--end-of-text-id") == true)
        }
    }

    @Test func existingShardsAreKeptUnlessForced() throws {
        try withTemporaryFolder { folder in
            let input = try folder.write("a.jsonl", jsonLines(sampleDocuments(100)))
            let (_, first) = try tokenize([input], in: folder) { $0.shardTokens = 200 }
            let error = try userError { try tokenize([input], in: folder) }
            #expect(error?.kind == .usage)
            #expect(error?.message.contains("train_000000.bin") == true)
            #expect(error?.hint?.contains("--force") == true)
            // Another prefix does not touch them; force replaces them all, however many there were.
            _ = try tokenize([input], in: folder) { $0.prefix = "train_small" }
            #expect(try folder.appending(path: "shards").names().count == first.count + 1)
            _ = try tokenize([input], in: folder) { $0.force = true }
            #expect(try folder.appending(path: "shards").names() == ["train_000000.bin", "train_small_000000.bin"])
        }
    }

    /// What is wrong with an input file, and what its error must say.
    struct BadInput: CustomTestStringConvertible, Sendable {
        let name: String
        let file: String
        let content: [UInt8]
        let says: [String]
        var isLine = false
        var testDescription: String { name }
    }

    private static func lines(_ lines: String...) -> [UInt8] { Array(lines.map { $0 + "\n" }.joined().utf8) }
    private static let good = #"{"text": "kato"}"#

    static let badInputs = [
        BadInput(
            name: "malformed", file: "x.jsonl", content: lines(good, #"{"text": "mi"#, good),
            says: ["x.jsonl:2:", "malformed JSON"], isLine: true),
        BadInput(
            name: "two texts", file: "x.jsonl", content: lines(good, #"{"text": "mi", "text": "la"}"#),
            says: ["x.jsonl:2:", "malformed JSON: column 16: the key \"text\" is there twice"], isLine: true),
        BadInput(
            name: "comma", file: "x.jsonl", content: lines(good, #"{"text": "mi",}"#),
            says: ["x.jsonl:2:", "malformed JSON: column 15:"], isLine: true),
        BadInput(
            name: "several", file: "x.json", content: lines("{", good, "[", "nul"),
            says: ["x.json:1:", "3 bad lines", "line 3, 4"], isLine: true),
        BadInput(
            name: "no text", file: "x.jsonl", content: lines(good, good, #"{"Text": "mi"}"#),
            says: ["x.jsonl:3:", "no `text`"], isLine: true),
        BadInput(
            name: "number", file: "x.jsonl", content: lines(good, #"{"text": 5}"#),
            says: ["x.jsonl:2:", "not a string"], isLine: true),
        BadInput(
            name: "null", file: "x.jsonl", content: lines(good, #"{"text": null}"#), says: ["x.jsonl:2:", "null"],
            isLine: true),
        BadInput(
            name: "array", file: "x.jsonl", content: lines(good, "[1]"), says: ["x.jsonl:2:", "not a JSON object"],
            isLine: true),
        BadInput(
            name: "UTF-8 in a line", file: "x.jsonl",
            content: lines(good) + Array(#"{"text": ""#.utf8) + [0xFF] + Array("\"}\n".utf8),
            says: ["x.jsonl:2:", "invalid UTF-8 at column 11", "0xFF"], isLine: true),
        BadInput(
            name: "UTF-8 in a text", file: "x.txt",
            content: Array(String(repeating: "kato ", count: 10_000).utf8) + [0xC3] + Array("mi".utf8),
            says: ["x.txt", "invalid UTF-8 at byte 50000"]),
        BadInput(name: "no gzip", file: "x.json.gz", content: lines(good), says: ["x.json.gz", "not a gzip file"]),
        BadInput(name: "unknown kind", file: "x.parquet", content: [1], says: ["x.parquet", ".json.gz"]),
    ]

    @Test(arguments: badInputs, [1, 3]) func badInputIsRefused(_ input: BadInput, threads: Int) throws {
        try withTemporaryFolder { folder in
            let first = try folder.write("a.jsonl", jsonLines(sampleDocuments(50)))
            let path = try folder.write(input.file, input.content)
            let error = try #require(try userError { try tokenize([first, path], in: folder, threads: threads) })
            #expect(error.kind == (input.name == "unknown kind" ? .usage : .data))
            for text in input.says { #expect(error.message.contains(text), "\(error.message) lacks \(text)") }
            #expect(error.hint?.contains("--skip-bad-lines") == (input.isLine ? true : false))
            #expect((try? folder.appending(path: "shards").names()) ?? [] == [])
        }
    }

    @Test func badLinesCanBeSkippedAndAreCounted() throws {
        try withTemporaryFolder { folder in
            let documents = sampleDocuments(100)
            let good = try documents.map { try jsonLines([$0]) }
            let bad = (0..<8).map { "{\"bad\": \($0)}\n" }
            let lines = good[..<50].joined() + bad.joined() + good[50...].joined() + "{"
            var tokenization = Tokenization(
                inputs: [try folder.write("x.jsonl", lines)], output: folder.path + "/shards")
            tokenization.skipsBadLines = true
            var notices: [String] = []
            let summary = try tokenization.run(
                tokenizer: SampleTokenizer.load(in: folder), pool: WorkerPool(threads: 2),
                notice: { notices.append($0) })
            #expect(summary.skippedLines == 9)
            #expect(summary.documents == 100)
            #expect(
                tokens(inShard: try folder.bytes("shards/train_000000.bin"))
                    == (try expectedTokens(documents, in: folder)))
            #expect(notices.count == 6)
            #expect(notices.first?.contains("x.jsonl:51: the object has no `text`; skipped") == true)
        }
    }

    @Test func damagedGzipFilesAreRefusedWithThePlace() throws {
        try withTemporaryFolder { folder in
            let packed = [UInt8](
                try Data(
                    contentsOf: URL(filePath: folder.gzip(folder.write("a.jsonl", jsonLines(sampleDocuments(500)))))))
            func error(_ bytes: [UInt8]) throws -> UserError? {
                let path = try folder.write("bad.json.gz", bytes)
                return try userError { try tokenize([path], in: folder) }
            }
            for count in [5, 100, packed.count / 2, packed.count - 1] {
                let error = try error(Array(packed.prefix(count)))
                #expect(error?.kind == .data)
                #expect(error?.message.contains("truncated: it ends at byte \(count)") == true)
            }
            var flipped = packed
            flipped[packed.count / 2] ^= 0x10
            #expect(try error(flipped)?.message.contains("corrupt gzip data near byte") == true)
            var checksum = packed
            checksum[packed.count - 6] ^= 1
            #expect(try error(checksum)?.message.contains("incorrect data check") == true)
            #expect(try error(packed + Array("rubbish".utf8))?.message.contains("corrupt gzip data near byte") == true)
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/shards"))
            // One that was there before stays.
            try FileManager.default.createDirectory(
                atPath: folder.path + "/shards", withIntermediateDirectories: false)
            #expect(try error(checksum) != nil)
            #expect(try folder.appending(path: "shards").names() == [])
        }
    }

    @Test func inputsThatAreNotThereAreRefused() throws {
        try withTemporaryFolder { folder in
            let here = try folder.write("here.jsonl", "")
            func error(_ inputs: String...) throws -> UserError? { try userError { try tokenize(inputs, in: folder) } }
            let missing = try error(here, folder.path + "/heer.jsonl")
            #expect(missing?.kind == .inputOutput)
            #expect(missing?.hint?.contains("here.jsonl") == true)
            #expect(try error(folder.path + "/*.json.gz")?.message.contains("no file matches") == true)
            let empty = folder.appending(path: "empty")
            try FileManager.default.createDirectory(at: empty, withIntermediateDirectories: true)
            #expect(try error(empty.path)?.message.contains("holds no documents") == true)
        }
    }

    @Test func settingsThatCannotBeAreRefused() throws {
        try withTemporaryFolder { folder in
            let input = try folder.write("a.txt", "kato")
            func error(_ change: (inout Tokenization) -> Void) throws -> UserError? {
                try userError { try tokenize([input], in: folder, change) }
            }
            #expect(try error { $0.shardTokens = 0 }?.kind == .usage)
            for prefix in ["a/b", "", ".a", "a*", "a?", "[a]", "a\nb", "a\0"] {
                #expect(try error { $0.prefix = prefix }?.kind == .usage, "\(prefix)")
            }
            #expect(try error { $0.output = input }?.kind == .inputOutput)
            #expect(try error { $0.output = "/proc/shards" }?.kind == .inputOutput)
        }
    }
}
