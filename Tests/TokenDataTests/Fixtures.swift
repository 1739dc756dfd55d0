import Console
import Foundation
import TensorCore
import TestSupport
import TokenData

/// Documents of made-up words, the same for the same seed. Some have several lines.
func sampleDocuments(_ count: Int, seed: UInt64 = 1, words: Int = 60) -> [String] {
    let syllables = ["ka", "to", "mi", "ren", "sol", "du", "ve", "lan", "pi", "gor", "esh", "un"]
    var random = Random(seed: seed, stream: "sample documents")
    let vocabulary = (0..<400).map { _ in (0..<1 + random.below(4)).map { _ in syllables[random.below(12)] }.joined() }
    return (0..<count).map { _ in
        (0..<1 + random.below(2 * words)).map { position in
            // Squared, so that some words are frequent.
            let word = vocabulary[Int(400 * random.uniform() * random.uniform())]
            return word + (position % 12 == 11 ? ".\n" : " ")
        }.joined().trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

/// C4's format.
func jsonLines(_ documents: [String]) throws -> String {
    struct Line: Encodable {
        let text: String
        let timestamp = "2019-04-25T12:57:54Z"
        let url = "https://example.com"
    }
    return try documents.map { String(decoding: try JSONEncoder().encode(Line(text: $0)), as: UTF8.self) + "\n" }
        .joined()
}

extension URL {
    /// The path of a file in this folder, after writing it.
    func write(_ name: String, _ content: String) throws -> String { try write(name, Array(content.utf8)) }

    func write(_ name: String, _ content: [UInt8]) throws -> String {
        let file = appending(path: name)
        try Data(content).write(to: file)
        return file.path
    }

    /// The path of the packed file that `gzip` makes of a file in this folder.
    func gzip(_ path: String) throws -> String {
        let command = try run("gzip", ["-kf", path])
        precondition(command.status == 0, command.errorOutput)
        return path + ".gz"
    }

    func bytes(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: appending(path: name))) }

    /// The names in this folder, hidden ones included.
    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
}

/// A small unigram tokenizer of T5's kind, trained once.
enum SampleTokenizer {
    static let model: [UInt8] = {
        do {
            return try withTemporaryFolder { folder in
                var training = TokenizerTraining(
                    inputs: [try folder.write("text.jsonl", jsonLines(sampleDocuments(400)))],
                    output: folder.appending(path: "m.model").path, vocabularySize: 300)
                training.characterCoverage = 1
                training.byteFallback = false
                training.normalization = .nmt_nfkc
                _ = try training.run()
                return try folder.bytes("m.model")
            }
        } catch {
            fatalError("the tests' tokenizer cannot be trained: \(error)")
        }
    }()

    /// The tokenizer, read from a file in `folder`.
    static func load(in folder: URL) throws -> Tokenizer {
        try Tokenizer(modelFile: folder.write("tokenizer.model", model))
    }
}

/// The user error that `body` throws, nil if it throws none.
func userError<Result>(_ body: () throws -> Result) throws -> UserError? {
    do {
        _ = try body()
        return nil
    } catch let error as UserError {
        return error
    }
}

/// The tokens of a shard's file.
func tokens(inShard bytes: [UInt8]) -> [Int32] {
    stride(from: 1024, to: bytes.count, by: 2).map { Int32(bytes[$0]) | Int32(bytes[$0 + 1]) << 8 }
}

/// A shard as llm.c writes it: no extras, but for further `words` of the header.
func foreignShard(
    _ tokens: [UInt16], magic: UInt32 = 20_240_520, version: UInt32 = 1, count: Int? = nil, words: [Int: UInt32] = [:]
) -> [UInt8] {
    let words = [magic, version, UInt32(count ?? tokens.count)] + (3..<256).map { words[$0] ?? 0 }
    return words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        + tokens.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)] }
}
