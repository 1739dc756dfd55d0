import Console
import Foundation
import TensorCore

/// Turns documents into token shards: each document's ids, then the end-of-text id.
///
/// A batch of bytes is parsed and encoded by all workers, in parts, while one of them already reads
/// the next batch; the parts' ids are written in the order of the documents. So the shards are the
/// same for any number of threads, and memory does not grow with the input.
public struct Tokenization: Sendable {
    /// Files, folders or globs.
    public var inputs: [String]
    public var output: String
    public var prefix = "train"
    public var shardTokens = 100_000_000
    /// The id after each document; nil: the tokenizer's `</s>`.
    public var endOfTextID: Int32?
    public var skipsBadLines = false
    public var force = false

    public init(inputs: [String], output: String) {
        self.inputs = inputs
        self.output = output
    }

    public struct Summary: Sendable {
        public var documents = 0
        /// Documents without any token, which are left out.
        public var emptyDocuments = 0
        public var skippedLines = 0
        public var textBytes = 0
        /// End-of-text ids included.
        public var tokens = 0
        /// Tokens that stand for characters outside the vocabulary.
        public var unknownTokens = 0
        public var shards: [String] = []
        /// The entropy of the tokens' frequencies in nats: the loss of a model that knows these alone.
        public var unigramEntropy = 0.0
    }

    /// Does the work. `notice` is given what a person should know, such as lines that were skipped.
    /// `cancellation` ends it with a `CancellationError`, and nothing is left behind.
    public func run(
        tokenizer: Tokenizer, pool: WorkerPool, cancellation: CancellationFlag? = nil,
        notice: @escaping (String) -> Void = { _ in }
    ) throws -> Summary {
        let endOfText = try checkedEndOfText(tokenizer)
        let reader = try DocumentReader(inputs: inputs, cancellation: cancellation)
        let writer = try ShardWriter(
            folder: output, prefix: prefix, shardTokens: shardTokens, vocabularySize: tokenizer.vocabularySize,
            endOfTextID: endOfText, tokenizerFingerprint: tokenizer.fingerprint, force: force)
        let progress = ProgressBar("tokenizing", total: reader.totalSize, unit: .bytes)
        defer { progress.finish() }
        var state = Progress(
            histogram: [Int](repeating: 0, count: tokenizer.vocabularySize), endOfText: endOfText, writer: writer)
        var badLines = BadLines(skip: skipsBadLines) {
            progress.finish(); notice($0)
        }

        let batchSize = (pool.workerCount + 1) << 20
        let encoder = BatchEncoder(tokenizer: tokenizer)
        var (batch, next) = (DocumentBatch(), DocumentBatch())
        var hasBatch = try reader.read(into: &batch, size: batchSize)
        var reported = 0
        while hasBatch {
            let (parts, hasNext) = try encoder.encode(
                batch, with: pool, isParsingOnly: badLines.isStopping, cancellation: cancellation
            ) {
                try reader.read(into: &next, size: batchSize)
            }
            for part in parts {
                for bad in part.bad { try badLines.add(bad) }
                if !badLines.isStopping { try state.add(part) }
            }
            // The first bad line ends the work, but all of its file's are counted for the message.
            if badLines.isStopping { reader.stopAfterCurrentFile() }
            swap(&batch, &next)
            hasBatch = hasNext
            progress.advance(by: reader.bytesRead - reported)
            reported = reader.bytesRead
        }
        try badLines.finish()
        state.summary.skippedLines = badLines.count
        if state.summary.tokens == 0 {
            throw UserError(
                .data, "the input holds no text: \(state.summary.emptyDocuments) empty documents",
                hint: "check the files given as --input")
        }
        return try state.finish(unknownID: tokenizer.unknownID)
    }

    private func checkedEndOfText(_ tokenizer: Tokenizer) throws -> Int32 {
        if tokenizer.vocabularySize > ShardHeader.maximalVocabularySize {
            throw UserError(
                .data,
                "\(tokenizer.modelFile) has \(tokenizer.vocabularySize) pieces; a shard's tokens are 16 bits wide, "
                    + "which allows \(ShardHeader.maximalVocabularySize)",
                hint: "choose a smaller tokenizer; `cosmos-train tokenizer` trains one")
        }
        guard let id = endOfTextID ?? tokenizer.endOfTextID else {
            throw UserError(
                .usage, "\(tokenizer.modelFile) has no end-of-text piece (</s>)",
                hint: "say which id ends a document with --end-of-text-id (0 to \(tokenizer.vocabularySize - 1))")
        }
        guard id >= 0, id < tokenizer.vocabularySize else {
            throw UserError(
                .usage,
                "end-of-text id \(id) is outside the vocabulary of \(tokenizer.modelFile): "
                    + "0 to \(tokenizer.vocabularySize - 1)",
                hint: tokenizer.endOfTextID.map { "leave --end-of-text-id away to take </s>, \($0)" }
                    ?? "say which of them ends a document with --end-of-text-id")
        }
        return id
    }

    private struct Progress {
        var histogram: [Int]
        let endOfText: Int32
        let writer: ShardWriter
        var summary = Summary()
        /// Tokens of the document that is being written; it may come in pieces.
        var documentTokens = 0

        mutating func add(_ part: EncodedRecords) throws {
            summary.textBytes += part.textBytes
            var start = 0
            for end in part.documentEnds {
                try write(part.tokens[start..<end])
                start = end
                if documentTokens == 0 {
                    summary.emptyDocuments += 1
                } else {
                    summary.documents += 1
                    try write([UInt16(endOfText)])
                }
                documentTokens = 0
            }
            try write(part.tokens[start...])
        }

        private mutating func write(_ tokens: ArraySlice<UInt16>) throws {
            for token in tokens { histogram[Int(token)] += 1 }
            documentTokens += tokens.count
            summary.tokens += tokens.count
            try tokens.withUnsafeBufferPointer { try writer.write($0) }
        }

        mutating func finish(unknownID: Int32?) throws -> Summary {
            if let unknownID { summary.unknownTokens = histogram[Int(unknownID)] }
            summary.unigramEntropy = entropy(histogram)
            summary.shards = try writer.finish()
            return summary
        }
    }
}

/// The entropy in nats of what occurs so often: the loss of a model that knows these frequencies alone.
package func entropy(_ counts: some Collection<Int>) -> Double {
    let total = Double(counts.reduce(0, +))
    return counts.reduce(0) { sum, count in
        count == 0 ? sum : sum - Double(count) / total * log(Double(count) / total)
    }
}
