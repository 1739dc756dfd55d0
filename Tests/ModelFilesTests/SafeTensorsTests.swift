import Console
import Foundation
import ModelFiles
import TensorCore
import TestSupport
import Testing
import TokenData

/// The bytes of a file with this header and data.
private func file(_ header: String, data: [UInt8] = []) -> [UInt8] {
    withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8) + data
}

private func entry(_ name: String, _ dtype: String, _ shape: [Int], _ begin: Int, _ end: Int) -> String {
    "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":[\(begin),\(end)]}"
}

private func tensor(_ shape: [Int], _ value: (Int) -> Float) -> Tensor<Float> {
    let tensor = Tensor<Float>(shape)
    for i in 0..<tensor.count { tensor.data[i] = value(i) }
    return tensor
}

@Suite struct SafeTensorsTests {
    /// Whoever shares out the checksum and the reading.
    @Test(arguments: [1, 3, 16]) func whatIsWrittenIsReadBitForBit(workers: Int) throws {
        let pool = WorkerPool(threads: workers)
        if workers == 1 { pool.recorder = TaskRecorder() }
        let folder = try TemporaryFolder()
        var random = Random(seed: 1, stream: "safetensors")
        // More than is written at a time, with every kind of bit pattern; and names that JSON must escape.
        let written = [
            NamedTensor(
                "b.weight", tensor([7, 200_001]) { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }),
            NamedTensor("a \"quoted\" / \u{e9}", tensor([1]) { _ in -0.0 }),
            NamedTensor("norm", tensor([7]) { Float($0) }),
        ]
        let path = folder.file("model.safetensors")
        let summary = try SafeTensors.write(written, to: path, on: pool)
        let bytes = try folder.bytes("model.safetensors")
        #expect(summary.bytes == bytes.count)
        #expect(summary.crc32 == bytes.withUnsafeBytes { crc32($0, continuing: 0) })
        #expect(bytes[0] % 8 == 0, "the data is not aligned")

        let file = try SafeTensorsFile(path: path)
        #expect(String(decoding: bytes, as: UTF8.self).contains(#""__metadata__":{"format":"pt"}"#))
        #expect(file.entries.map(\.name) == written.map(\.name))
        for original in written {
            let copy = Tensor<Float>(original.tensor.shape)
            try file.read(original.name, into: copy, on: pool)
            #expect(memcmp(copy.data, original.tensor.data, copy.byteCount) == 0)
        }
        guard let pieces = pool.recorder?.finish() else { return }
        for name in ["checksum", "reading of tensors"] {
            let isShared = pieces.contains {
                if case .phase(let phase) = $0 { phase.name == name && phase.tasks.count > 5 } else { false }
            }
            #expect(isShared, "\(name) is one worker's work")
        }
    }

    /// Values from the formats' definitions, odd count, more than one block.
    @Test(arguments: [
        ("F16", [UInt16(0x3c00), 0xc000, 0x7bff, 0x0001, 0xfc00], [Float(1), -2, 65504, 0x1p-24, -Float.infinity]),
        (
            "BF16", [0x3f80, 0xc000, 0x7f7f, 0x0001, 0xff80],
            [1, -2, 0x1.fep127, Float(bitPattern: 0x10000), -Float.infinity]
        ),
    ])
    func halfPrecisionIsWidenedExactly(_ dtype: String, _ bits: [UInt16], _ values: [Float]) throws {
        let folder = try TemporaryFolder()
        let count = 600_001
        let data = (0..<count).flatMap { i in withUnsafeBytes(of: bits[i % bits.count].littleEndian) { Array($0) } }
        let path = try folder.write(
            file("{\(entry("x", dtype, [count], 0, 2 * count))}", data: data), "half.safetensors")
        let result = Tensor<Float>(count)
        try SafeTensorsFile(path: path).read("x", into: result)
        #expect((0..<count).allSatisfy { result.data[$0].bitPattern == values[$0 % values.count].bitPattern })
    }

    @Test func whatBFloat16CannotHoldIsNotMadeInfinite() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("x")
        let held = NamedTensor("held", tensor([3]) { _ in 3.3895e38 })
        try SafeTensors.write([held], as: .bf16, to: path)
        let large = NamedTensor("large", tensor([700_000]) { $0 == 699_999 ? 3.4e38 : 0 })
        let error = #expect(throws: UserError.self) { try SafeTensors.write([held, large], as: .bf16, to: path) }
        #expect(error?.message == "tensor large: element 699999, 3.4e+38, is too large for bfloat16")
        #expect(try SafeTensorsFile(path: path).entries.map(\.name) == ["held"])
    }

    @Test func anEmptyFileOfTensorsAndEmptyTensorsAreLegal() throws {
        let folder = try TemporaryFolder()
        #expect(try SafeTensorsFile(path: folder.write(file("{}"), "none")).entries.isEmpty)
        let header = "{\(entry("e", "F32", [0, 5], 0, 0)),\(entry("s", "I64", [], 0, 8))}   "
        let opened = try SafeTensorsFile(path: folder.write(file(header, data: Array(repeating: 0, count: 8)), "some"))
        #expect(opened.entries.map(\.name) == ["e", "s"])
        #expect(try SafeTensors.write([], to: folder.file("empty")).bytes > 8)
        #expect(try SafeTensorsFile(path: folder.file("empty")).entries.isEmpty)
    }

    /// Each damage is refused with words that name it.
    @Test(
        arguments: [
            ([1, 2, 3], "only 3 bytes"),
            (
                Array(repeating: 255, count: 8) + Array("{}".utf8),
                "should be 18446744073709551615 bytes long, but the file has only 10"
            ),
            (Array(file("{}").dropLast()), "should be 2 bytes long"),
            (file("[1, 2]"), "no JSON object"),
            (file(""), "does not read"),
            (file("{\"a\": "), "does not read"),
            (file("{\"a\": {}} x"), "does not read"),
            (file("{\"\u{fffd}\": 1}").map { $0 == 0xef ? 0xff : $0 }, "it is not UTF-8 text"),
            (file("{\"a\": 3}"), "does not read: a"),
            (file("{\"a\": {\"dtype\": \"F32\", \"shape\": [1]}}"), "a: \"data_offsets\" is missing"),
            (file("{\"a\": {\"dtype\": 1, \"shape\": [1], \"data_offsets\": [0, 4]}}"), "a: \"dtype\" is not right"),
            (
                file("{\"a\": {\"dtype\": \"F32\", \"shape\": [1.5], \"data_offsets\": [0, 4]}}"),
                "does not read: "
            ),
            (
                file("{\"a\": {\"dtype\": \"F32\", \"shape\": [1e40], \"data_offsets\": [0, 4]}}"),
                "does not read: "
            ),
            (file("{\"__metadata__\": {\"format\": 1}}"), "does not read: __metadata__"),
            (
                file(
                    "{\(entry("a", "F32", [2], 0, 8)),\(entry("a", "F32", [2], 0, 8))}",
                    data: Array(repeating: 0, count: 8)), "the key \"a\" is there twice"
            ),
            (
                file(
                    "{\(entry("\u{e9}", "F32", [1], 0, 4)),\(entry("e\u{301}", "F32", [1], 4, 8))}",
                    data: Array(repeating: 0, count: 8)), "two tensors have names that differ in nothing that is seen"
            ),
            (file("{\(entry("a", "F4", [2], 0, 1))}", data: [0]), "unknown element type \"F4\""),
            (
                file("{\(entry("a", "F32", [2], 0, 8))}", data: [0, 0, 0]),
                "data_offsets [0, 8], but the data is 3 bytes long"
            ),
            (file("{\(entry("a", "F32", [1], 4, 0))}", data: [0, 0, 0, 0]), "data_offsets [4, 0]"),
            (file("{\(entry("a", "F32", [1], -4, 0))}", data: [0, 0, 0, 0]), "data_offsets [-4, 0]"),
            (
                file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,4]}}", data: [0, 0, 0, 0]),
                "data_offsets [0, 4, 4]"
            ),
            (
                file("{\(entry("a", "F32", [3], 0, 8))}", data: Array(repeating: 0, count: 8)),
                "F32 of shape [3], has 8 bytes"
            ),
            (
                file("{\(entry("a", "F32", [-1, -2], 0, 8))}", data: Array(repeating: 0, count: 8)),
                "shape [-1, -2], has 8 bytes"
            ),
            (file("{\(entry("a", "F32", [1 << 62, 4], 0, 0))}"), "has 0 bytes"),
            (file("{\(entry("a", "F32", [1 << 62, 1 << 62, 0], 0, 0))}"), "has 0 bytes"),
            (
                file(
                    "{\(entry("a", "F32", [2], 0, 8)),\(entry("b", "F32", [2], 4, 12))}",
                    data: Array(repeating: 0, count: 12)), "tensor b at byte 120 overlaps tensor a"
            ),
            (
                file(
                    "{\(entry("a", "F32", [1], 0, 4)),\(entry("b", "F32", [1], 8, 12))}",
                    data: Array(repeating: 0, count: 12)), "leaves a hole after tensor a"
            ),
            (
                file("{\(entry("a", "F32", [1], 4, 8))}", data: Array(repeating: 0, count: 8)),
                "leaves a hole after the header"
            ),
            (
                file("{\(entry("a", "F32", [1], 0, 4))}", data: Array(repeating: 0, count: 7)),
                "3 bytes after tensor a belong to no tensor"
            ),
        ] as [([UInt8], String)])
    func damageIsRefused(_ bytes: [UInt8], _ words: String) throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(bytes, "bad.safetensors")
        let error = #expect(throws: UserError.self) { try SafeTensorsFile(path: path) }
        #expect(error?.kind == .data)
        #expect(error?.message.hasPrefix(path + ": ") == true)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    /// Any prefix of a file and any changed byte of its header gives an error or a valid file, no crash.
    @Test func cutAndChangedFilesNeverCrash() throws {
        let folder = try TemporaryFolder()
        let good = file(
            "{\(entry("a", "F32", [2], 0, 8)),\(entry("b", "BF16", [2, 2], 8, 16))}",
            data: Array(repeating: 1, count: 16))
        for length in 0..<good.count {
            let path = try folder.write(good[..<length], "cut")
            #expect(throws: UserError.self) { try SafeTensorsFile(path: path) }
        }
        var random = Random(seed: 2, stream: "fuzz")
        for _ in 0..<300 {
            var bytes = good
            for _ in 0...random.below(3) { bytes[random.below(good.count - 16)] = UInt8(random.below(256)) }
            let path = try folder.write(bytes, "changed")
            do {
                let file = try SafeTensorsFile(path: path)
                for entry in file.entries where !entry.shape.contains(0) && entry.shape.reduce(1, *) < 100 {
                    try file.read(entry.name, into: Tensor(entry.shape))
                }
            } catch is UserError {}
        }
    }

    @Test func aMissingTensorAnotherShapeAndAnotherTypeAreNamed() throws {
        let folder = try TemporaryFolder()
        let header = "{\(entry("model.norm.weight", "F32", [2], 0, 8)),\(entry("ids", "I32", [2], 8, 16))}"
        let path = try folder.write(file(header, data: Array(repeating: 0, count: 16)), "x.safetensors")
        let file = try SafeTensorsFile(path: path)
        func error(_ name: String, _ shape: [Int]) -> UserError? {
            #expect(throws: UserError.self) { try file.read(name, into: Tensor(shape)) }
        }
        let missing = error("model.norm.weights", [2])
        #expect(missing?.message == "\(path): tensor model.norm.weights is missing")
        #expect(missing?.hint == "the file has model.norm.weight")
        #expect(error("model.norm.weight", [1, 2])?.message.contains("has shape [2], but [1, 2] is needed") == true)
        #expect(error("ids", [2])?.message.contains("element type I32") == true)
    }

    @Test func aMissingFileAndAFolderAreNamed() throws {
        let folder = try TemporaryFolder()
        let missing = #expect(throws: UserError.self) { try SafeTensorsFile(path: folder.file("no")) }
        #expect(missing?.kind == .inputOutput)
        #expect(missing?.message == "cannot open \(folder.path)/no: No such file or directory")
        #expect(throws: UserError.self) { try SafeTensorsFile(path: folder.path) }
    }
}
