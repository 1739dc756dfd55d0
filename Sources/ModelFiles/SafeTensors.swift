import Console
import Files
import Foundation
import TensorCore
import TokenData

/// The SafeTensors file format: named tensors in one file.
///
///     u64 little endian   n, the length of the header
///     n bytes             JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...,
///                                "__metadata__": {"format": "pt"}}
///     the rest            the tensors' elements, little endian, row major, one tensor after another
///
/// The offsets count from the end of the header. They must cover the data without hole or overlap.
public enum SafeTensors {
    /// An element type by its name in the header.
    public enum DType: String, CaseIterable, Sendable {
        case bool = "BOOL"
        case u8 = "U8"
        case i8 = "I8"
        case f8e4m3 = "F8_E4M3"
        case f8e5m2 = "F8_E5M2"
        case u16 = "U16"
        case i16 = "I16"
        case f16 = "F16"
        case bf16 = "BF16"
        case u32 = "U32"
        case i32 = "I32"
        case f32 = "F32"
        case u64 = "U64"
        case i64 = "I64"
        case f64 = "F64"

        public var byteCount: Int {
            switch self {
            case .bool, .u8, .i8, .f8e4m3, .f8e5m2: 1
            case .u16, .i16, .f16, .bf16: 2
            case .u32, .i32, .f32: 4
            case .u64, .i64, .f64: 8
            }
        }
    }

    static let metadataKey: JSONValue.Key = "__metadata__"

    /// The largest header that is believed; the reference implementation has the same limit.
    static let maxHeaderBytes = 100_000_000

    /// The most elements of a tensor that are written at a time: few enough that the write finds them in the cache.
    public static let elementsAtOnce = 1 << 20

    /// Writes tensors in the given order, as float32 straight from their memory, or rounded to bfloat16. `read`: what gives
    /// elements of a tensor, by its place in `tensors`, where they do not lie in this process's memory. The workers of
    /// `pool` share the checksum.
    @discardableResult
    public static func write(
        _ tensors: [NamedTensor], as dtype: DType = .f32, to path: String,
        on pool: WorkerPool = WorkerPool(threads: 1), progress: ProgressBar? = nil,
        reading read: ((_ tensor: Int, Range<Int>) throws -> UnsafeMutableBufferPointer<Float>)? = nil
    ) throws -> FileSummary {
        require(dtype == .f32 || dtype == .bf16, "writing tensors as \(dtype.rawValue)")
        let file = try AtomicFile(path: path)
        var crc: UInt32 = 0
        func append(_ bytes: UnsafeRawBufferPointer) throws {
            let part = try FileSummary.crc32(of: bytes.count, partSize: 1 << 16, on: pool) { range, _ in
                UnsafeRawBufferPointer(rebasing: bytes[range])
            }
            crc = TokenData.crc32(crc, followedBy: part, count: bytes.count)
            try file.write(bytes)
        }
        let header = try header(of: tensors, dtype)
        try withUnsafeBytes(of: UInt64(header.count).littleEndian) { try append($0) }
        try header.withUnsafeBytes { try append($0) }
        for (place, (name, tensor)) in tensors.map({ ($0.name, $0.tensor) }).enumerated() {
            for range in ranges(of: tensor.count, size: elementsAtOnce) {
                let part = try read?(place, range) ?? UnsafeMutableBufferPointer(rebasing: tensor.elements[range])
                if dtype == .bf16 {
                    let rounded = part.map { BFloat16($0) }
                    if let index = rounded.indices.first(where: {
                        !rounded[$0].float.isFinite && part[$0].isFinite
                    }) {
                        throw UserError(
                            .data,
                            "tensor \(name): element \(range.lowerBound + index), \(part[index]), is too large for bfloat16",
                            hint: "write the weights as float32")
                    }
                    try rounded.map(\.bits.littleEndian).withUnsafeBytes { try append($0) }
                } else {
                    try append(UnsafeRawBufferPointer(part))
                }
                progress?.advance(by: part.count * dtype.byteCount)
            }
        }
        try file.commit()
        return FileSummary(bytes: file.byteCount, crc32: crc)
    }

    /// The JSON header, padded with spaces so that the data begins at a multiple of 8.
    private static func header(of tensors: [NamedTensor], _ dtype: DType) throws -> Data {
        var entries: [String: JSONValue] = [metadataKey.text: .object(["format": .string("pt")])]
        var offset = 0
        for (name, tensor) in tensors.map({ ($0.name, $0.tensor) }) {
            require(entries[name] == nil, "tensor \(name) twice")
            let end = offset + tensor.count * dtype.byteCount
            entries[name] = .object([
                "dtype": .string(dtype.rawValue), "shape": .array(tensor.shape.map(JSONValue.integer)),
                "data_offsets": .array([.integer(offset), .integer(end)]),
            ])
            offset = end
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        var header = try encoder.encode(entries)
        header.append(contentsOf: repeatElement(UInt8(ascii: " "), count: -header.count & 7))
        return header
    }
}
