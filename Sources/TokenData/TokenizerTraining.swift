import Console
import Files
import Foundation

/// Trains a SentencePiece model on documents.
///
/// Documents are split after their line ends, and lines longer than `maxSentenceLength` at spaces, so that
/// nothing is left out for its length. Unless one chooses otherwise, the model keeps every byte of text:
/// decoding gives what was encoded. The same input and settings make the same model, whatever the
/// machine: SentencePiece sums over 16 threads in a fixed order however many cores there are.
public struct TokenizerTraining: Sendable {
    public enum ModelType: String, CaseIterable, Sendable { case unigram, bpe }
    /// SentencePiece's rules that are applied to text before anything else. All but the identity lose
    /// something, and with them spaces are joined, and one is put before the text, as T5 has it.
    public enum Normalization: String, CaseIterable, Sendable { case nmt_nfkc, nfkc, nmt_nfkc_cf, nfkc_cf, identity }

    public var inputs: [String]
    public var output: String
    public var vocabularySize: Int
    public var modelType = ModelType.unigram
    /// T5's special ids; -1: the model has none.
    public var padID = 0
    public var endOfTextID = 1
    public var unknownID = 2
    public var beginOfTextID = -1
    /// Whether a character outside the vocabulary becomes its UTF-8 bytes (256 pieces) instead of `<unk>`.
    public var byteFallback = true
    /// The share of the text's characters that the vocabulary must cover.
    public var characterCoverage = 0.9995
    public var normalization = Normalization.identity
    /// More sentences than this are sampled; 0: all are used.
    public var maxSentences = 1_000_000
    /// In bytes.
    public var maxSentenceLength = 4192
    public var seed: UInt32 = 1
    public var skipsBadLines = false
    public var force = false

    public init(inputs: [String], output: String, vocabularySize: Int) {
        self.inputs = inputs
        self.output = output
        self.vocabularySize = vocabularySize
    }

    public struct Summary: Sendable {
        public var documents = 0
        public var textBytes = 0
        public var sentences = 0
        public var skippedLines = 0
        public var vocabularySize = 0
        /// What text may lose on the way to ids and back, in words.
        public var losses: [String] = []
        public var seconds = 0.0
    }

    /// Does the work. `notice` is given what a person should know.
    public func run(notice: @escaping (String) -> Void = { _ in }) throws -> Summary {
        try validate()
        // An output that cannot be written is told now, not when the work is done.
        _ = try AtomicFile(path: output)
        let start = StatusLine.now()
        let reader = try DocumentReader(inputs: inputs)
        let line = StatusLine()
        let progress = ProgressBar("reading", total: reader.totalSize, unit: .bytes, line: line)
        let sentences = SentenceSource(
            reader: reader, lengthLimit: maxSentenceLength, skipsBadLines: skipsBadLines, progress: progress,
            notice: {
                line.finish(); notice($0)
            })
        let bar = ProgressBar("training the \(modelType.rawValue) tokenizer", unit: .time, line: line)
        defer { bar.finish() }
        var model: [UInt8]
        do {
            model = try trainSentencePiece(arguments: arguments, seed: seed) {
                let sentence = try sentences.next()
                if sentence == nil { bar.keepShowing() }
                return sentence
            }
        } catch let failure as SentencePieceFailure {
            throw explain(failure.reason, sentences: sentences.summary.sentences)
        }
        bar.finish()
        if modelType == .unigram { model = SentencePieceModel.roundingScores(model) }
        try AtomicFile.write(model, to: output)
        var summary = sentences.summary
        // Loading it is the proof that it is one.
        let tokenizer = try Tokenizer(modelFile: output)
        summary.vocabularySize = tokenizer.vocabularySize
        summary.losses = tokenizer.losses
        summary.seconds = StatusLine.now() - start
        return summary
    }

    private var arguments: [(key: String, value: String)] {
        let normalizes = normalization != .identity
        return [
            ("model_type", modelType.rawValue),
            ("vocab_size", String(vocabularySize)),
            ("pad_id", String(padID)), ("eos_id", String(endOfTextID)),
            ("unk_id", String(unknownID)), ("bos_id", String(beginOfTextID)),
            ("byte_fallback", String(byteFallback)),
            ("character_coverage", String(characterCoverage)),
            // The characters of special pieces' names: see `TokenizerJSON`.
            ("required_chars", modelType == .unigram ? "</s>unkpad0123456789ABCDEFx" : ""),
            ("normalization_rule_name", normalization.rawValue),
            ("add_dummy_prefix", String(normalizes)),
            ("remove_extra_whitespaces", String(normalizes)),
            ("allow_whitespace_only_pieces", String(!normalizes)),
            ("input_sentence_size", String(maxSentences)),
            ("shuffle_input_sentence", "true"),
            ("max_sentence_length", String(maxSentenceLength)),
            // The default, named because the sums and so the model depend on it.
            ("num_threads", "16"),
            ("minloglevel", "3"),
        ]
    }

    private func validate() throws {
        func fail(_ message: String, _ hint: String? = nil) -> UserError { UserError(.usage, message, hint: hint) }
        if !(1...ShardHeader.maximalVocabularySize).contains(vocabularySize) {
            throw fail(
                "a vocabulary of \(vocabularySize): it can have up to \(ShardHeader.maximalVocabularySize) pieces, "
                    + "because shards hold 16-bit tokens", "32000 is usual")
        }
        let ids = [
            ("--pad-id", padID), ("--eos-id", endOfTextID), ("--unk-id", unknownID), ("--bos-id", beginOfTextID),
        ]
        if unknownID < 0 {
            throw fail("--unk-id \(unknownID): SentencePiece needs an unknown id", "such as --unk-id 2")
        }
        for (index, (name, id)) in ids.enumerated() {
            if id < -1 || id >= vocabularySize {
                throw fail("\(name) \(id): ids run from 0 to \(vocabularySize - 1)", "-1 leaves it out")
            }
            if let other = ids[..<index].first(where: { $0.1 == id && id >= 0 }) {
                throw fail("\(other.0) and \(name) are both \(id)", "give each an id of its own; -1 leaves one out")
            }
        }
        if !(0.98...1).contains(characterCoverage) {
            throw fail(
                "--character-coverage \(characterCoverage): SentencePiece takes 0.98 to 1",
                "0.9995 is usual; 1 keeps every character")
        }
        if maxSentences != 0, !(101...Int(Int32.max)).contains(maxSentences) {
            throw fail("--max-sentences \(maxSentences): SentencePiece samples more than 100 sentences", "0 uses all")
        }
        if !(16...(1 << 20)).contains(maxSentenceLength) {
            throw fail("--max-sentence-length \(maxSentenceLength): 16 to \(1 << 20) bytes", "4192 is usual")
        }
        if !force, FileManager.default.fileExists(atPath: output) {
            throw fail("\(output) already exists", "choose another --output, or replace it with --force")
        }
    }

    /// SentencePiece's complaint with the option that remedies it.
    private func explain(_ reason: String, sentences: Int) -> UserError {
        if sentences == 0 {
            return UserError(
                .data, "the input holds no text to train a tokenizer on", hint: "check the files given as --input")
        }
        let hint: String
        if reason.contains("too high") {
            hint = "choose a smaller --vocab-size, or give more text"
        } else if reason.contains("smaller than required") {
            hint =
                "choose a larger --vocab-size or a smaller --character-coverage"
                + (byteFallback ? "; --no-byte-fallback saves 256 pieces, at the loss of rare characters" : "")
        } else {
            hint =
                "the text: \(sentences) sentences; the settings: "
                + arguments.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        }
        return UserError(.data, "SentencePiece cannot train this tokenizer: \(reason)", hint: hint)
    }
}

/// The lines of documents, one after the other, with their ends.
private final class SentenceSource {
    private(set) var summary = TokenizerTraining.Summary()
    private let reader: DocumentReader
    private let lengthLimit: Int
    private let progress: ProgressBar
    private var badLines: BadLines
    private var batch = DocumentBatch()
    private var nextRecord = 0
    private var reported = 0
    /// The text that is being split, and where the next sentence begins in it.
    private var text: [UInt8] = []
    private var position = 0
    /// The end of the line in which `position` lies, after its line feed and empty lines that follow. At `position` or
    /// before it: not known yet.
    private var lineEnd = 0
    /// What belongs before the next text.
    private var unfinishedLine: [UInt8] = []

    init(
        reader: DocumentReader, lengthLimit: Int, skipsBadLines: Bool, progress: ProgressBar,
        notice: @escaping (String) -> Void
    ) {
        self.reader = reader
        self.lengthLimit = lengthLimit
        self.progress = progress
        badLines = BadLines(skip: skipsBadLines, notice: notice)
    }

    func next() throws -> [UInt8]? {
        while true {
            while position < text.count {
                // Looked for once a line, not once a sentence of it.
                if lineEnd <= position { lineEnd = self.endOfLine(from: position) }
                let end =
                    text.withUnsafeBytes {
                        pieceEnd(
                            UnsafeRawBufferPointer(rebasing: $0[..<lineEnd]), from: position, size: lengthLimit - 1)
                    } ?? lineEnd
                let sentence = text[position..<end]
                position = end
                if sentence.allSatisfy({ $0 <= 0x20 }) { continue }
                summary.sentences += 1
                return Array(sentence)
            }
            guard try readText() else { return nil }
        }
    }

    private func endOfLine(from start: Int) -> Int {
        guard let newline = text[start...].firstIndex(of: 0x0A) else { return text.count }
        return text[newline...].firstIndex { $0 != 0x0A && $0 != 0x0D } ?? text.count
    }

    /// Takes the next document's text; false at the end.
    private func readText() throws -> Bool {
        while true {
            while nextRecord < batch.records.count {
                let record = batch.records[nextRecord]
                nextRecord += 1
                switch batch.bytes.withUnsafeBytes({ record.text(in: $0) }) {
                case .failure(let bad):
                    try badLines.add(bad)
                    if badLines.isStopping { reader.stopAfterCurrentFile() }
                    continue
                case .success(let string):
                    summary.textBytes += string.utf8.count
                    text = unfinishedLine + Array(string.utf8)
                    unfinishedLine = []
                }
                if badLines.isStopping { continue }
                (position, lineEnd) = (0, 0)
                if record.kind == .text {
                    // The next piece of the file goes on in the middle of a line.
                    if let newline = text.lastIndex(of: 0x0A) {
                        unfinishedLine = Array(text[(newline + 1)...])
                        text.removeSubrange((newline + 1)...)
                    }
                } else {
                    summary.documents += 1
                }
                return true
            }
            progress.advance(by: reader.bytesRead - reported)
            reported = reader.bytesRead
            nextRecord = 0
            guard try reader.read(into: &batch, size: 1 << 20) else { break }
        }
        try badLines.finish()
        summary.skippedLines = badLines.count
        return false
    }
}
