import Foundation
import TensorCore
import TestSupport
import Testing
import TokenData

/// A shard as `tokenize` writes it, with the end-of-text id 1.
private func shard(_ tokens: [UInt16], index: Int = 0, isLast: Bool = true, endOfTextID: Int = 1) -> [UInt8] {
    var bytes = foreignShard(tokens)
    func set(_ word: Int, _ value: UInt32) {
        for byte in 0..<4 { bytes[4 * word + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
    }
    set(3, 100)
    set(4, bytes[1024...].withUnsafeBytes { crc32($0, continuing: 0) })
    set(5, UInt32(endOfTextID))
    set(8, UInt32(index))
    set(9, isLast ? 1 : 0)
    return bytes
}

@Suite("One document a row")
struct DocumentIndexTests {
    private func row(_ dataset: TokenDataset, _ index: Int) throws -> (tokens: [Int32], targets: [Int32]) {
        var tokens = [Int32](repeating: 77, count: dataset.sequenceLength)
        var targets = tokens
        try tokens.withUnsafeMutableBufferPointer { tokens in
            try targets.withUnsafeMutableBufferPointer { try dataset.window(index, tokens: tokens, targets: $0) }
        }
        return (tokens, targets)
    }

    private func open(_ folder: URL, _ name: String = "", length: Int) throws -> TokenDataset {
        try TokenDataset(
            path: folder.path + "/" + name, sequenceLength: length, vocabularySize: 300, packing: .documents,
            pool: WorkerPool(threads: 2))
    }

    @Test("A row is the document with its end, cut or padded; targets are the tokens after, and none in padding")
    func rows() throws {
        try withTemporaryFolder { folder in
            _ = try folder.write("a.bin", shard([5, 6, 1, 7, 1, 1, 8, 9, 10, 11, 1, 12, 13, 14, 1]))
            let dataset = try open(folder, length: 4)
            // The third is nothing but its end.
            #expect(dataset.windowCount == 4)
            #expect(dataset.targetCount == 2 + 1 + 3 + 3)
            let expected: [([Int32], [Int32])] = [
                ([5, 6, 1, 0], [6, 1, -1, -1]), ([7, 1, 0, 0], [1, -1, -1, -1]), ([8, 9, 10, 1], [9, 10, 1, -1]),
                ([12, 13, 14, 1], [13, 14, 1, -1]),
            ]
            for (index, (tokens, targets)) in expected.enumerated() {
                #expect(try row(dataset, index).tokens == tokens)
                #expect(try row(dataset, index).targets == targets)
                #expect(dataset.targetCount(index) == targets.count { $0 >= 0 })
            }
            #expect(dataset.notices.isEmpty)
        }
    }

    @Test("Documents that lie across shards are whole; each is there once", arguments: [2, 37, 500], [100_000, 50, 3])
    func acrossShards(length: Int, shardTokens: Int) throws {
        try withTemporaryFolder { folder in
            var tokenization = Tokenization(
                inputs: [try folder.write("text.jsonl", jsonLines(sampleDocuments(30)))],
                output: folder.path + "/shards")
            tokenization.shardTokens = shardTokens
            let tokenizer = try SampleTokenizer.load(in: folder)
            _ = try tokenization.run(tokenizer: tokenizer, pool: WorkerPool(threads: 1))
            let end = try #require(tokenizer.endOfTextID)
            let dataset = try open(folder, "shards", length: length)
            let documents = try sampleDocuments(30).map { try tokenizer.encode($0) + [end] }
            #expect(dataset.windowCount == documents.count)
            #expect(dataset.targetCount == documents.reduce(0) { $0 + min($1.count, length) - 1 })
            for (index, document) in documents.enumerated() {
                let kept = document.count <= length ? document : Array(document.prefix(length - 1)) + [end]
                let padding = length - kept.count
                #expect(try row(dataset, index).tokens == kept + [Int32](repeating: 0, count: padding))
                #expect(
                    try row(dataset, index).targets == kept.dropFirst() + [Int32](repeating: -1, count: padding + 1))
            }
        }
    }

    @Test("What begins or ends in a shard that is not given is left out, with a word about it")
    func partialSets() throws {
        try withTemporaryFolder { folder in
            _ = try folder.write("a_0.bin", shard([5, 1, 6], index: 0, isLast: false))
            _ = try folder.write("a_1.bin", shard([7, 1, 8], index: 1, isLast: false))
            _ = try folder.write("a_2.bin", shard([9, 1, 10, 1], index: 2))
            #expect(try open(folder, length: 5).windowCount == 4)
            let ends = try open(folder, "a_[02].bin", length: 5)
            #expect(ends.windowCount == 2)
            #expect(try [0, 1].map { try row(ends, $0).tokens[0] } == [5, 10])
            #expect(ends.notices.contains { $0.contains("2 documents") })
            let none = try userError { try open(folder, "a_1.bin", length: 5) }
            #expect(none?.message.hasSuffix("a_1.bin: there is no whole document in the shards") == true)
        }
    }

    @Test("Shards that do not say what ends a document, or say two things, are refused; so are rows of one token")
    func refusals() throws {
        try withTemporaryFolder { folder in
            _ = try folder.write("foreign.bin", foreignShard([5, 6, 1, 7, 1]))
            _ = try folder.write("a.bin", shard([5, 1]))
            _ = try folder.write("b.bin", shard([5, 2], endOfTextID: 2))
            _ = try folder.write("c.bin", shard([5, 1], endOfTextID: 60))
            let foreign = try userError { try open(folder, "foreign.bin", length: 4) }
            #expect(foreign?.kind == .data)
            #expect(foreign?.message.contains("foreign.bin does not say which id ends a document") == true)
            #expect(foreign?.hint?.contains("cosmos-train tokenize") == true)
            let two = try userError { try open(folder, "[ab].bin", length: 4) }
            #expect(two?.message.contains("with id 1, ") == true && two?.message.hasSuffix("b.bin with 2") == true)
            let strange = try userError { try open(folder, "c.bin", length: 4) }
            #expect(strange?.message.contains("no whole document") == true)
            #expect(try userError { try open(folder, "a.bin", length: 1) }?.kind == .usage)
        }
    }

    @Test("An epoch visits every document once, resumed anywhere")
    func epochs() throws {
        try withTemporaryFolder { folder in
            _ = try folder.write("a.bin", shard((0..<40).flatMap { [UInt16(10 + $0), 1] }))
            let dataset = try open(folder, length: 3)
            var sampler = BatchSampler(windowCount: dataset.windowCount, seed: 3)
            var seen = sampler.next(13)
            var resumed = BatchSampler(windowCount: dataset.windowCount, seed: 3, position: sampler.position)
            seen += resumed.next(27)
            #expect(try Set(seen.map { try row(dataset, $0).tokens[0] }) == Set((0..<40).map { 10 + $0 }))
        }
    }
}
