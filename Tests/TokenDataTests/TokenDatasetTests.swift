import Console
import Foundation
import TensorCore
import TestSupport
import Testing
import TokenData

@Suite struct TokenDatasetTests {
    private func window(_ dataset: TokenDataset, _ index: Int) throws -> (tokens: [Int32], targets: [Int32]) {
        var tokens = [Int32](repeating: -1, count: dataset.sequenceLength)
        var targets = tokens
        try tokens.withUnsafeMutableBufferPointer { tokens in
            try targets.withUnsafeMutableBufferPointer { try dataset.window(index, tokens: tokens, targets: $0) }
        }
        return (tokens, targets)
    }

    /// Shards of the sample text in `folder`, and their tokens one after the other.
    private func makeShards(in folder: URL, shardTokens: Int, prefix: String = "train") throws -> [Int32] {
        var tokenization = Tokenization(
            inputs: [try folder.write("text.jsonl", jsonLines(sampleDocuments(60)))],
            output: folder.appending(path: "shards").path)
        tokenization.shardTokens = shardTokens
        tokenization.prefix = prefix
        let summary = try tokenization.run(tokenizer: SampleTokenizer.load(in: folder), pool: WorkerPool(threads: 1))
        return try summary.shards.flatMap { tokens(inShard: [UInt8](try Data(contentsOf: URL(filePath: $0)))) }
    }

    @Test func moreThreadsThanPartsOfAShardAreNoMatter() throws {
        try withTemporaryFolder { folder in
            let path = folder.appending(path: "a.bin").path
            try writeShard(learnableTokens(300_000, vocabulary: 50, seed: 1), to: path)
            let pool = WorkerPool(threads: 32)
            for _ in 0..<30 {
                let dataset = try TokenDataset(path: path, sequenceLength: 16, vocabularySize: 50, pool: pool)
                #expect(dataset.tokenCount == 300_000)
            }
        }
    }

    @Test func windowsAreTheTokensAndTheirSuccessors() throws {
        try withTemporaryFolder { folder in
            // 2 windows of 3 with one token to spare; one window exactly; one token too few for two.
            _ = try folder.write("a.bin", foreignShard([0, 1, 2, 3, 4, 5, 6, 7]))
            _ = try folder.write("b.bin", foreignShard([10, 11, 12, 13]))
            _ = try folder.write("c.bin", foreignShard([20, 21, 22, 23, 24, 25]))
            let dataset = try TokenDataset(path: folder.path, sequenceLength: 3, vocabularySize: 26)
            #expect(dataset.windowCount == 4)
            #expect(dataset.tokenCount == 18)
            #expect(dataset.files.map { URL(filePath: $0).lastPathComponent } == ["a.bin", "b.bin", "c.bin"])
            #expect(dataset.tokenizerFingerprint == nil)
            for (index, first) in [0, 3, 10, 20].enumerated() {
                let (tokens, targets) = try window(dataset, index)
                #expect(tokens == (0..<3).map { Int32(first + $0) })
                #expect(targets == (1..<4).map { Int32(first + $0) })
            }
        }
    }

    /// Far into a shard, where other workers look than at its beginning.
    @Test func anIdBeyondTheVocabularyIsToldWithItsPlace() throws {
        try withTemporaryFolder { folder in
            let tokens = [UInt16](repeating: 3, count: 140_000) + [99, 3, 99]
            let path = try folder.write("a.bin", foreignShard(tokens))
            let error = try userError {
                try TokenDataset(path: path, sequenceLength: 4, vocabularySize: 50, pool: WorkerPool(threads: 2))
            }
            #expect(error?.message.contains("token 140000 (offset 281024) has id 99") == true, "\(error as Any)")
        }
    }

    @Test func theFingerprintIsOfAllShardsInTheirOrder() throws {
        try withTemporaryFolder { folder in
            func fingerprint(_ a: [UInt16], _ b: [UInt16]) throws -> UInt32 {
                _ = try folder.write("a.bin", foreignShard(a))
                _ = try folder.write("b.bin", foreignShard(b))
                return try TokenDataset(path: folder.path, sequenceLength: 2, vocabularySize: 9).contentFingerprint
            }
            let all = try [([1, 2, 3], [4, 5, 6]), ([4, 5, 6], [1, 2, 3]), ([1, 2, 4], [4, 5, 6])].map(fingerprint)
            #expect(Set(all).count == 3)
            #expect(try fingerprint([1, 2, 3, 4], [5, 6, 7]) == fingerprint([1, 2, 3], [4, 5, 6, 7]))
        }
    }

    @Test func aFileAFolderAndAGlobNameShards() throws {
        try withTemporaryFolder { folder in
            for name in ["val_000000.bin", "train_000000.bin", "train_000001.bin", "readme.txt"] {
                _ = try folder.write(name, foreignShard([1, 2, 3]))
            }
            func count(_ path: String) throws -> Int {
                try TokenDataset(path: path, sequenceLength: 2, vocabularySize: 4).windowCount
            }
            #expect(try count(folder.appending(path: "val_000000.bin").path) == 1)
            #expect(try count(folder.appending(path: "train_*.bin").path) == 2)
            #expect(try count(folder.path) == 3)
            #expect(try count(folder.path + "/") == 3)
            // A set of one name beside one of another is likely training on validation data.
            let mixed = try TokenDataset(path: folder.path, sequenceLength: 2, vocabularySize: 4)
            #expect(mixed.notices.contains { $0.contains("train_*.bin") && $0.contains("val_*.bin") })
        }
    }

    @Test func ourShardsGiveEveryTokenOfTheText() throws {
        try withTemporaryFolder { folder in
            let tokens = try makeShards(in: folder, shardTokens: 500)
            let tokenizer = try SampleTokenizer.load(in: folder)
            let dataset = try TokenDataset(
                path: folder.path + "/shards", sequenceLength: 499, vocabularySize: 300, pool: WorkerPool(threads: 3))
            #expect(dataset.tokenCount == tokens.count)
            #expect(dataset.files.count == (tokens.count + 499) / 500)
            #expect(dataset.tokenizerFingerprint == tokenizer.fingerprint)
            for index in 0..<tokens.count / 500 {
                let (inputs, targets) = try window(dataset, index)
                #expect(inputs == Array(tokens[index * 500..<index * 500 + 499]))
                #expect(targets == Array(tokens[index * 500 + 1..<index * 500 + 500]))
            }
        }
    }

    /// A shard of several blocks of the check, so that the checksum is put together from parts.
    @Test func theChecksumOfALargeShardIsThatOfItsBytes() throws {
        try withTemporaryFolder { folder in
            _ = try makeShards(in: folder, shardTokens: 100_000_000)
            let path = folder.appending(path: "shards/train_000000.bin")
            var bytes = [UInt8](try Data(contentsOf: path).prefix(1024))
            var random = Random(seed: 1, stream: "tokens")
            for _ in 0..<5_000_000 { bytes += [UInt8(random.below(256)), 0] }
            func set(_ word: Int, _ value: UInt32) {
                for byte in 0..<4 { bytes[4 * word + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
            }
            set(2, 5_000_000)
            set(4, bytes.withUnsafeBytes { crc32(UnsafeRawBufferPointer(rebasing: $0[1024...])) })
            try Data(bytes).write(to: path)
            for threads in [1, 3] {
                let dataset = try TokenDataset(
                    path: path.path, sequenceLength: 100, vocabularySize: 256, pool: WorkerPool(threads: threads))
                #expect(dataset.windowCount == 49_999)
            }
            bytes[bytes.count - 4] ^= 1
            try Data(bytes).write(to: path)
            let error = try userError { try TokenDataset(path: path.path, sequenceLength: 9, vocabularySize: 256) }
            #expect(error?.message.contains("CRC-32") == true)
        }
    }

    @Test func theCheckValuesOfCRC32AreRight() {
        let text = Array("123456789".utf8)
        text.withUnsafeBytes { bytes in
            #expect(crc32(bytes) == 0xCBF4_3926)
            let first = crc32(UnsafeRawBufferPointer(rebasing: bytes[..<4]))
            let second = crc32(UnsafeRawBufferPointer(rebasing: bytes[4...]))
            #expect(crc32(UnsafeRawBufferPointer(rebasing: bytes[4...]), continuing: first) == 0xCBF4_3926)
            #expect(crc32(first, followedBy: second, count: 5) == 0xCBF4_3926)
        }
        #expect(crc32(UnsafeRawBufferPointer(start: nil, count: 0)) == 0)
    }

    /// What is wrong with a shard, and what its error must say.
    struct BadShard: CustomTestStringConvertible, Sendable {
        let name: String
        let bytes: [UInt8]
        let says: [String]
        var testDescription: String { name }
    }

    static let badShards = [
        BadShard(name: "nothing", bytes: [], says: ["empty"]),
        BadShard(name: "three bytes", bytes: [1, 2, 3], says: ["not a token shard", "3 bytes"]),
        BadShard(
            name: "text", bytes: Array(String(repeating: "text ", count: 500).utf8),
            says: ["not a token shard", "1954047348"]),
        BadShard(
            name: "wrong magic", bytes: foreignShard([1, 2, 3], magic: 20_240_801), says: ["20240801", "20240520"]),
        BadShard(name: "wrong version", bytes: foreignShard([1, 2, 3], version: 2), says: ["version 2", "version 1"]),
        BadShard(
            name: "header cut", bytes: Array(foreignShard([1, 2, 3]).prefix(500)), says: ["truncated", "500 bytes"]),
        BadShard(
            name: "cut", bytes: Array(foreignShard([1, 2, 3]).dropLast()), says: ["truncated", "1029 bytes", "1030"]),
        BadShard(name: "too long", bytes: foreignShard([1, 2, 3]) + [0, 0], says: ["too long", "1032 bytes"]),
        BadShard(
            name: "count beyond the file", bytes: foreignShard([1], count: 2_000_000_000), says: ["2000000000 tokens"]),
        BadShard(name: "negative count", bytes: foreignShard([1], count: 4_294_967_295), says: ["-1"]),
        BadShard(
            name: "vocabulary", bytes: foreignShard([1, 2, 3, 4, 5], words: [3: 70_000]),
            says: ["vocabulary size, 70000", "offset 12", "65536"]),
        BadShard(
            name: "negative vocabulary", bytes: foreignShard([1, 2, 3, 4, 5], words: [3: .max]),
            says: ["vocabulary size, -1"]),
        BadShard(
            name: "end of text", bytes: foreignShard([1, 2, 3, 4, 5], words: [3: 10, 5: 10]),
            says: ["end-of-text id, 10", "offset 20", "0 to 9"]),
        BadShard(
            name: "negative end of text", bytes: foreignShard([1, 2, 3, 4, 5], words: [3: 10, 5: .max]),
            says: ["end-of-text id, -1"]),
        BadShard(name: "no tokens", bytes: foreignShard([]), says: ["empty", "no tokens"]),
        BadShard(name: "short", bytes: foreignShard([1, 2, 3, 4]), says: ["4 tokens", "4 + 1"]),
        BadShard(
            name: "id", bytes: foreignShard([1, 2, 9, 3, 10, 4]), says: ["token 4 (offset 1032)", "id 10", "10"]),
        BadShard(
            name: "id among many", bytes: foreignShard((0..<1000).map { $0 == 700 ? 65_535 : 1 }),
            says: ["token 700 (offset 2424)", "65535"]),
    ]

    @Test(arguments: badShards) func aBadShardIsRefused(_ shard: BadShard) throws {
        try withTemporaryFolder { folder in
            _ = try folder.write("a.bin", foreignShard([1, 2, 3, 4, 5, 6]))
            let path = try folder.write("bad.bin", shard.bytes)
            // Beside a good one, too, unless it is merely short.
            for input in shard.name == "short" ? [path] : [path, folder.path] {
                let error = try #require(
                    try userError { try TokenDataset(path: input, sequenceLength: 4, vocabularySize: 10) })
                #expect(error.kind == .data)
                #expect(error.hint != nil)
                for text in shard.says + ["bad.bin"] {
                    #expect(error.message.contains(text), "\(error.message) lacks \(text)")
                }
            }
        }
    }

    @Test func aShortShardAmongOthersIsLeftOutWithANotice() throws {
        try withTemporaryFolder { folder in
            _ = try folder.write("train_0.bin", foreignShard([1, 2, 3, 4, 5]))
            _ = try folder.write("train_1.bin", foreignShard([1, 2]))
            _ = try folder.write("train_2.bin", foreignShard([6, 7, 8, 9, 9]))
            let dataset = try TokenDataset(path: folder.path, sequenceLength: 4, vocabularySize: 10)
            #expect(dataset.windowCount == 2)
            #expect(try window(dataset, 1).tokens == [6, 7, 8, 9])
            #expect(dataset.notices.count == 1)
            #expect(dataset.notices.first?.contains("train_1.bin has only 2 tokens") == true)
        }
    }

    @Test func aFlippedBitIsFound() throws {
        try withTemporaryFolder { folder in
            _ = try makeShards(in: folder, shardTokens: 500)
            let path = folder.appending(path: "shards/train_000001.bin")
            var bytes = [UInt8](try Data(contentsOf: path))
            bytes[1500] ^= 1
            try Data(bytes).write(to: path)
            let error = try userError {
                try TokenDataset(path: folder.path + "/shards", sequenceLength: 9, vocabularySize: 300)
            }
            #expect(error?.kind == .data)
            #expect(error?.message.contains("train_000001.bin is damaged") == true)
        }
    }

    @Test func shardsOfTwoTokenizersAreRefused() throws {
        try withTemporaryFolder { folder in
            _ = try makeShards(in: folder, shardTokens: 100_000)
            let first = folder.appending(path: "shards/train_000000.bin")
            var bytes = [UInt8](try Data(contentsOf: first))
            bytes[4 * 6] ^= 1
            _ = try folder.appending(path: "shards").write("other_000000.bin", bytes)
            let error = try userError {
                try TokenDataset(path: folder.path + "/shards", sequenceLength: 9, vocabularySize: 300)
            }
            #expect(error?.message.contains("different tokenizers") == true)
        }
    }

    @Test(arguments: [0, 1, -1]) func aMissingShardOfAFolderIsNoticed(_ position: Int) throws {
        try withTemporaryFolder { folder in
            _ = try makeShards(in: folder, shardTokens: 500)
            let shards = folder.appending(path: "shards")
            let names = try shards.names()
            try FileManager.default.removeItem(
                at: shards.appending(path: names[position < 0 ? names.count - 1 : position]))
            func open(_ path: String) throws -> TokenDataset {
                try TokenDataset(path: path, sequenceLength: 9, vocabularySize: 300)
            }
            let error = try userError { try open(shards.path) }
            #expect(error?.kind == .data)
            #expect(error?.message.contains("is missing") == true)
            // Some shards, on purpose.
            #expect(try open(shards.path + "/train_*.bin").files.count == names.count - 1)
        }
    }

    @Test func pathsThatNameNothingAreRefused() throws {
        try withTemporaryFolder { folder in
            _ = try folder.write("notes.txt", "x")
            func error(_ path: String) throws -> UserError? {
                try userError { try TokenDataset(path: path, sequenceLength: 2, vocabularySize: 2) }
            }
            #expect(try error(folder.path + "/none.bin")?.kind == .inputOutput)
            #expect(try error(folder.path + "/*.bin")?.message.contains("no file matches") == true)
            #expect(try error(folder.path)?.message.contains("holds no token shards") == true)
        }
    }

    /// A shard that other processes write must neither end this one by a signal nor hand on what was never checked.
    @Test(arguments: [Packing.stream, .documents]) func aFileThatChangesWhileItIsInUseIsAnErrorThatNamesThePlace(
        packing: Packing
    ) throws {
        try withTemporaryFolder { folder in
            let path = folder.path + "/a.bin"
            let tokens = (0..<8).flatMap { _ -> [UInt16] in [1, 2, 3, 4, 5, 6, 7, 0] }
            try TestSupport.writeShard(tokens, to: path, endOfTextID: 0)
            let whole = try Data(contentsOf: URL(filePath: path))
            let dataset = try TokenDataset(path: path, sequenceLength: 8, vocabularySize: 300, packing: packing)
            let first = try window(dataset, 0).tokens
            let file = try FileHandle(forUpdating: URL(filePath: path))
            func write(_ bytes: Data) throws {
                try file.seek(toOffset: 0)
                try file.write(contentsOf: bytes)
            }
            // The same bytes at another time are the same.
            try write(whole)
            #expect(try window(dataset, 0).tokens == first)

            var changed = whole
            changed[1024 + 2 * 3 + 1] = 0xff
            try write(changed)
            let large = #expect(throws: UserError.self) { try window(dataset, 0) }
            #expect(
                large?.message.hasPrefix("\(path): token 3 (offset 1030) has id ") == true, "\(large?.message ?? "")")

            changed = whole
            changed.swapAt(1024, 1026)
            try write(changed)
            let other = #expect(throws: UserError.self) { try window(dataset, 2) }
            #expect(other?.message.hasPrefix("\(path) was changed while it was in use") == true)

            try write(whole)
            #expect(try window(dataset, 0).tokens == first)
            try write(whole + [0, 0])
            let grown = #expect(throws: UserError.self) { try window(dataset, 0) }
            #expect(grown?.message.hasPrefix("\(path) was changed while it was in use") == true)
            try file.truncate(atOffset: 1024 + 2 * 10)
            let cut = #expect(throws: UserError.self) { try window(dataset, 2) }
            #expect(cut?.message == "\(path): the file ends at byte 1044")
            #expect([large, other, grown, cut].allSatisfy { $0?.kind == .data })
        }
    }
}
