import Foundation
import ModelFiles
import TestSupport
import Testing
import TokenData

/// What `tokenizers` computes from a `tokenizer.json`, written down after its documentation: as simple as can be.
/// (`scripts/check_huggingface.sh` asks the real one.)
private struct ReferenceTokenizer {
    private struct File: Decodable {
        struct Split: Decodable {
            struct Pattern: Decodable { let Regex: String }
            let pattern: Pattern
        }
        struct Model: Decodable {
            let type: String
            let byte_fallback: Bool
            let vocab: Vocabulary
            let merges: [[String]]?
            let unk_id: Int?
            let unk_token: String?
        }
        enum Vocabulary: Decodable {
            case ids([String: Int])
            case scores([(String, Double)])

            init(from decoder: any Decoder) throws {
                if let ids = try? [String: Int](from: decoder) {
                    self = .ids(ids)
                } else {
                    var list = try decoder.unkeyedContainer()
                    var scores: [(String, Double)] = []
                    while !list.isAtEnd {
                        var entry = try list.nestedUnkeyedContainer()
                        scores.append((try entry.decode(String.self), try entry.decode(Double.self)))
                    }
                    self = .scores(scores)
                }
            }
        }
        let pre_tokenizer: Split
        let model: Model
    }

    typealias Bytes = [UInt8]
    private let file: File
    private var ids: [Bytes: Int] = [:]
    private var scores: [Bytes: Double] = [:]
    private var ranks: [[Bytes]: Int] = [:]
    private let unknown: Int

    init(_ path: String) throws {
        file = try JSONDecoder().decode(File.self, from: Data(contentsOf: URL(filePath: path)))
        switch file.model.vocab {
        case .ids(let vocabulary):
            for (text, id) in vocabulary { ids[Array(text.utf8)] = id }
            for (rank, pair) in (file.model.merges ?? []).enumerated() { ranks[pair.map { Array($0.utf8) }] = rank }
        case .scores(let vocabulary):
            for (id, (text, score)) in vocabulary.enumerated() {
                ids[Array(text.utf8)] = id
                scores[Array(text.utf8)] = score
            }
        }
        unknown = file.model.unk_id ?? ids[Array((file.model.unk_token ?? "").utf8)] ?? -1
    }

    func encode(_ text: String) throws -> [Int] {
        let expression = try NSRegularExpression(pattern: file.pre_tokenizer.pattern.Regex)
        let whole = NSRange(text.startIndex..., in: text)
        return expression.matches(in: text, range: whole).flatMap { match in
            let characters = text[Range(match.range, in: text)!].unicodeScalars.map { Array(String($0).utf8) }
            return fallBack(file.model.type == "BPE" ? merge(characters) : bestPath(characters))
        }
    }

    private func merge(_ characters: [Bytes]) -> [Bytes] {
        var symbols = characters
        while true {
            let pairs = symbols.indices.dropLast().compactMap { index in
                ranks[[symbols[index], symbols[index + 1]]].map { (rank: $0, index: index) }
            }
            guard let best = pairs.min(by: { ($0.rank, $0.index) < ($1.rank, $1.index) }) else { return symbols }
            symbols.replaceSubrange(best.index...best.index + 1, with: [symbols[best.index] + symbols[best.index + 1]])
        }
    }

    private func bestPath(_ characters: [Bytes]) -> [Bytes] {
        let unknownScore = (scores.values.min() ?? 0) - 10
        let longest = scores.keys.map(\.count).max() ?? 0
        var best = [(score: 0.0, start: 0)]
        for end in 1...characters.count {
            var found: (score: Double, start: Int)?
            for start in max(0, end - longest)..<end {
                let piece = Array(characters[start..<end].joined())
                guard let score = scores[piece] ?? (end - start == 1 ? unknownScore : nil) else { continue }
                let sum = best[start].score + score
                if found.map({ sum > $0.score }) ?? true { found = (sum, start) }
            }
            best.append(found!)
        }
        var pieces: [Bytes] = []
        var end = characters.count
        while end > 0 {
            pieces.append(Array(characters[best[end].start..<end].joined()))
            end = best[end].start
        }
        return pieces.reversed()
    }

    /// Unknown ones become their bytes, or together one unknown token.
    private func fallBack(_ pieces: [Bytes]) -> [Int] {
        var result: [Int] = []
        var follows = false
        for piece in pieces {
            if let id = ids[piece] {
                result.append(id)
                follows = false
            } else if file.model.byte_fallback {
                result += piece.map { ids[Array(String(format: "<0x%02X>", $0).utf8)]! }
            } else {
                if !follows { result.append(unknown) }
                follows = true
            }
        }
        return result
    }
}

@Suite struct TokenizerFileTests {
    /// A checkpoint whose tokenizer is trained on text with indentation, and the tokenizer.
    private func checkpoint(_ folder: TemporaryFolder, _ change: (inout TokenizerTraining) -> Void) throws -> Tokenizer
    {
        let lines = (0..<300).map {
            "\(["", "  ", "      "][$0 % 3])kato\($0 % 17) mi ren == number \($0 * 7919 % 1000).</b>\n"
        }
        let file = folder.file("text.txt")
        try folder.write((lines.joined() + "  e\u{301}  \u{e9}\u{e9} aaa aaaa =====").utf8, "text.txt")
        var training = TokenizerTraining(inputs: [file], output: folder.file("t.model"), vocabularySize: 420)
        training.characterCoverage = 1
        change(&training)
        _ = try training.run()
        let tokenizer = try Tokenizer(modelFile: folder.file("t.model"))
        for (name, bytes) in try TokenizerFile(tokenizer).files { try folder.write(bytes, name) }
        return tokenizer
    }

    @Test(
        "tokenizer.json gives the ids of the SentencePiece model for any text",
        arguments: TokenizerTraining.ModelType.allCases, [true, false])
    func sameIDs(type: TokenizerTraining.ModelType, byteFallback: Bool) throws {
        let folder = try TemporaryFolder()
        let tokenizer = try checkpoint(folder) {
            $0.modelType = type
            $0.byteFallback = byteFallback
            $0.vocabularySize = byteFallback ? 420 : 130
        }
        let reference = try ReferenceTokenizer(folder.file("tokenizer.json"))
        for text in hardTexts where text.utf8.count < 1000 && (byteFallback || !text.utf8.contains(0xE2)) {
            #expect(try reference.encode(text) == tokenizer.encode(text).map(Int.init), "\(text.debugDescription)")
        }
        let text = try folder.text("tokenizer.json")
        // Both forms, though they are equal as strings.
        #expect(text.utf8.contains("\"\u{e9}\"".utf8) && text.utf8.contains("\u{301}\"".utf8))
        let configuration = try folder.text("tokenizer_config.json")
        #expect(configuration.contains("\"eos_token\" : \"</s>\""))
        #expect(configuration.contains("\"split_special_tokens\" : true"))
    }

    @Test("Words of more characters than the limit are cut as the file says")
    func longWords() throws {
        let folder = try TemporaryFolder()
        let tokenizer = try checkpoint(folder) { $0.modelType = .bpe }
        let reference = try ReferenceTokenizer(folder.file("tokenizer.json"))
        for text in [
            "a\(String(repeating: "ab", count: 1023))katokato mi", String(repeating: " ", count: 2050) + "kato",
        ] {
            #expect(try reference.encode(text) == tokenizer.encode(text).map(Int.init))
        }
    }

    @Test("Where transformers cannot compute a model, tokenizer.json says so when it is opened")
    func refusal() throws {
        let folder = try TemporaryFolder()
        let tokenizer = try checkpoint(folder) {
            $0.normalization = .nfkc
            $0.vocabularySize = 420
        }
        #expect(!tokenizer.losses.isEmpty)
        let text = try folder.text("tokenizer.json")
        #expect(
            text.contains(
                "none: transformers would give other ids than tokenizer.model, because it replaces characters (nfkc). ")
        )
    }
}
