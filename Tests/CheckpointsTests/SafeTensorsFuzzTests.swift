import Checkpoints
import Console
import Foundation
import LLaMA
import ModelFiles
import TensorCore
import TestSupport
import Testing

/// Headers and indices with some of their words exchanged for others: an error for people or a file that
/// keeps its promises, the same for the same seed, and never a crash.
@Suite struct SafeTensorsFuzzTests {
    private static let words = [
        "-1", "0", "1", "2", "4", "8", "16", "64", "4294967296", "4611686018427387904", "9223372036854775807",
        "9223372036854775808", "-9223372036854775808", "1e308", "1e-3", "0.5", "NaN", "true", "null", "[]", "{}",
        "\"\"",
        "\"F32\"", "\"BF16\"", "\"F64\"", "\"F4\"", "\"a\"", "\"b\"", "\"\\u0061\"", "\"\\ud800\"", "\"shape\"",
        "\"data_offsets\"", "\"__metadata__\"", "[", "]", "{", "}", ",", ":", "\"", "\\", "\0",
    ]

    /// Exchanges, doubles, swaps or removes up to three words of a JSON text.
    private func mutate(_ text: String, _ random: inout Random) -> String {
        var words = text.matches(of: /"[^"]*"|-?[0-9.]+|[^"0-9\s]/).map { String($0.0) }
        for _ in 0...random.below(3) {
            let (i, j) = (random.below(words.count), random.below(words.count))
            switch random.below(5) {
            case 0: words.swapAt(i, j)
            case 1: words.insert(words[j], at: i)
            case 2 where words.count > 1: words.remove(at: i)
            default: words[i] = Self.words[random.below(Self.words.count)]
            }
        }
        return words.joined()
    }

    private func bytes(_ header: some Sequence<UInt8>, data: Int) -> [UInt8] {
        let header = Array(header)
        return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
            + [UInt8](repeating: 1, count: data)
    }

    @Test func headers() throws {
        let folder = try TemporaryFolder()
        let header = """
            {"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},\
            "b":{"dtype":"BF16","shape":[4],"data_offsets":[16,24]},"c":{"dtype":"I64","shape":[],"data_offsets":[24,32]}}
            """
        var random = Random(seed: 1, stream: "headers")
        var opened = 0
        for _ in 0..<3000 {
            let text = mutate(header, &random)
            let path = try folder.write(bytes(text.utf8, data: 32), "x")
            do {
                let file = try SafeTensorsFile(path: path)
                opened += 1
                // Whatever its names: the tensors are the data, each byte once.
                #expect(file.entries.reduce(0) { $0 + $1.range.count } == 32, "\(text)")
                for entry in file.entries {
                    #expect(entry.shape.reduce(entry.dtype.byteCount, *) == entry.range.count, "\(text)")
                    if entry.range.isEmpty || ![.f32, .f16, .bf16].contains(entry.dtype) { continue }
                    try file.read(entry.name, into: Tensor(entry.shape))
                }
            } catch is UserError {}
        }
        #expect(opened >= 20, "\(opened) of 3000 opened: the test looks at errors alone")
    }

    /// Some readers take JSON in UTF-16 and UTF-32 as well; a header is UTF-8.
    @Test(arguments: [String.Encoding.utf16LittleEndian, .utf16BigEndian, .utf32LittleEndian])
    func otherEncodings(_ encoding: String.Encoding) throws {
        let folder = try TemporaryFolder()
        // The second byte pairs of these are quotes and backslashes.
        let text = "{\"\u{2222}\u{5c22}\u{225c}\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}}"
        let data = try #require(text.data(using: encoding))
        let path = try folder.write(bytes(data, data: 4), "x")
        let error = #expect(throws: UserError.self) { try SafeTensorsFile(path: path) }
        #expect(error?.message.contains(": the header ") == true)
    }

    @Test func indices() throws {
        let folder = try TemporaryFolder()
        let path = try PretrainedModel.copy(PretrainedModel.sharded, into: folder)
        let index = "\(PretrainedModel.sharded)/model.safetensors.index.json"
        let text = try folder.text(index)
        let model = LLaMA(
            config: try ModelFolder(path).config, pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: 1)
        var random = Random(seed: 2, stream: "indices")
        for _ in 0..<300 {
            try folder.write(mutate(text, &random).utf8, index)
            do { try ModelFolder(path).loadWeights(into: model) } catch is UserError {}
        }
    }
}
