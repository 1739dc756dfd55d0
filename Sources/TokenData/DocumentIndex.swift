import Console
import TensorCore

/// The documents of token shards, one a row of `length` tokens, as in GaLore's C4 benchmark.
///
/// A row holds the document with its end-of-text id. A longer document is cut to `length` - 1 tokens and
/// the end-of-text id; a shorter one is padded with 0. The target of each token is the one after it, so
/// a document of n tokens has min(n, length) - 1 targets; positions without one have -1. What stands in
/// the padding does not matter: no position that has a target sees it.
///
/// A document may begin in one shard and end in the next. One that has no beginning or no end in the
/// given shards, and one that is nothing but its end-of-text id, is left out. Memory: 8 bytes a document.
struct DocumentIndex {
    let count: Int
    /// Targets of all rows.
    let targetCount: Int
    /// The number of the first document of each shard, and at the end the number of all documents.
    let firstDocuments: [Int]
    let notices: [String]
    private let endOfTextID: UInt16
    /// For each shard, where its documents begin (at the number of its tokens: in the next shard) and how many tokens
    /// their rows have, the end-of-text id included.
    private let documents: [[(start: UInt32, count: UInt32)]]

    init(_ shards: [Shard], length: Int, pool: WorkerPool) throws {
        guard length > 1 else {
            throw UserError(
                .usage, "a document cut to one token predicts nothing", hint: "choose a sequence length of 2 or more")
        }
        let endOfTextID = try Self.endOfTextID(of: shards)
        self.endOfTextID = endOfTextID
        let ends = try Self.ends(of: shards, endOfTextID, pool)
        var documents = [[(start: UInt32, count: UInt32)]](repeating: [], count: shards.count)
        var targetCount = 0
        var cut = 0
        /// Where the document under way began, and how many tokens it has in the shards before this one.
        var open: (shard: Int, offset: Int)?
        var openTokens = 0
        for (index, shard) in shards.enumerated() {
            if index == 0 || !shard.continues(shards[index - 1]) {
                if openTokens > 0 { cut += 1 }
                open = shard.header.extras?.index == 0 ? (index, 0) : nil
                openTokens = 0
                if open == nil { cut += 1 }
            }
            for end in ends[index].map(Int.init) {
                if let begin = open {
                    let tokens = (begin.shard == index ? end - begin.offset : openTokens + end) + 1
                    if tokens > 1 {
                        let count = min(tokens, length)
                        documents[begin.shard].append((UInt32(begin.offset), UInt32(count)))
                        targetCount += count - 1
                    }
                }
                open = (index, end + 1)
            }
            if let begin = open {
                openTokens =
                    begin.shard == index ? shard.tokenCount - begin.offset : openTokens + shard.tokenCount
            }
        }
        if openTokens > 0 { cut += 1 }
        self.documents = documents
        self.targetCount = targetCount
        firstDocuments = documents.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
        count = firstDocuments[firstDocuments.count - 1]
        notices = cut == 0 ? [] : ["\(cut) documents that other shards begin or end are left out"]
        guard count > 0 else {
            throw UserError(
                .data, "\(shards[0].path): there is no whole document in the shards",
                hint: "give all shards of the set, or set data.packing to true")
        }
    }

    func copy(
        _ number: Int, of shard: Int, _ shards: [Shard], tokens: UnsafeMutableBufferPointer<Int32>,
        targets: UnsafeMutableBufferPointer<Int32>
    ) throws {
        tokens.update(repeating: 0)
        targets.update(repeating: -1)
        let document = documents[shard][number]
        let count = Int(document.count)
        try withUnsafeTemporaryAllocation(of: UInt16.self, capacity: count) { source in
            var (shard, offset, done) = (shard, Int(document.start), 0)
            while done < count - 1 {
                let part = min(count - 1 - done, shards[shard].tokenCount - offset)
                let place = UnsafeMutableBufferPointer(rebasing: source[done..<done + part])
                if part > 0 { try shards[shard].readUnchanged(from: offset, into: place) }
                (shard, offset, done) = (shard + 1, 0, done + part)
            }
            source[count - 1] = endOfTextID
            for position in 0..<count {
                tokens[position] = Int32(source[position])
                if position > 0 { targets[position - 1] = Int32(source[position]) }
            }
        }
    }

    func targetCount(_ number: Int, of shard: Int) -> Int { Int(documents[shard][number].count) - 1 }

    /// The id after each document, on which all shards must agree.
    private static func endOfTextID(of shards: [Shard]) throws -> UInt16 {
        let hint = "make the shards with `cosmos-train tokenize`, which notes the id, or set data.packing to true"
        let ids = try shards.map { shard in
            guard let id = shard.header.extras.flatMap({ UInt16(exactly: $0.endOfTextID) }) else {
                throw UserError(
                    .data, "\(shard.path) does not say which id ends a document, so its documents cannot be told apart",
                    hint: hint)
            }
            return id
        }
        if let other = ids.firstIndex(where: { $0 != ids[0] }) {
            throw UserError(
                .data,
                "\(shards[0].path) ends its documents with id \(ids[0]), \(shards[other].path) with \(ids[other])",
                hint: "make all shards of a data set with one end-of-text id")
        }
        return ids[0]
    }

    /// The offsets of the end-of-text ids of each shard.
    private static func ends(of shards: [Shard], _ id: UInt16, _ pool: WorkerPool) throws -> [[UInt32]] {
        let progress = ProgressBar("finding documents", total: shards.reduce(0) { $0 + $1.payloadSize }, unit: .bytes)
        defer { progress.finish() }
        return try shards.map { shard in
            let parts = try shard.forEachPart(pool) { start, tokens in
                progress.advance(by: 2 * tokens.count)
                return tokens.indices.filter { tokens[$0] == id }.map { UInt32(start + $0) }
            }
            return parts.flatMap { $0 }
        }
    }
}
