import Console
import Files
import TensorCore

/// A SafeTensors file open for reading. Everything its header says is checked against the file when
/// it is opened; tensors are then read by chunks into the caller's memory.
public final class SafeTensorsFile {
    public struct Entry: Sendable {
        public let name: String
        public let dtype: SafeTensors.DType
        public let shape: [Int]
        /// Where its bytes lie, counted from the beginning of the file.
        public let range: Range<Int>
    }

    public let path: String
    public let entries: [Entry]
    private let index: [String: Int]
    private let file: RegularFile

    /// Opens and checks a file. Throws `UserError`: `inputOutput` where it cannot be read, `data` where
    /// it is damaged or no such file.
    public init(path: String) throws {
        self.path = path
        file = try RegularFile(path)
        let (header, dataStart) = try Self.readHeader(file, path)
        entries = try Self.checked(header, dataStart: dataStart, fileSize: file.size, path)
        index = Dictionary(uniqueKeysWithValues: entries.enumerated().map { ($1.name, $0) })
    }

    /// The tensor of this name; an error names what is missing.
    public func entry(_ name: String) throws -> Entry {
        if let position = index[name] { return entries[position] }
        let near = closestMatch(to: name, in: entries.map(\.name)).map { "the file has \($0)" }
        throw UserError(
            .data, "\(path): tensor \(name) is missing",
            hint: near ?? "the file has \(entries.count) tensors, of another model or optimizer than is asked for")
    }

    public func contains(_ name: String) -> Bool { index[name] != nil }

    /// Checks that a tensor is there with this shape and a type that can be read, without reading it.
    @discardableResult
    public func check(_ name: String, shape: [Int]) throws -> Entry {
        let entry = try entry(name)
        guard entry.shape == shape else {
            throw UserError(
                .data, "\(path): tensor \(name) has shape \(entry.shape), but \(shape) is needed",
                hint: "the file belongs to a model or optimizer of another shape")
        }
        guard [.f32, .f16, .bf16].contains(entry.dtype) else {
            throw UserError(
                .data, "\(path): tensor \(name) has element type \(entry.dtype.rawValue)",
                hint: "F32, F16 and BF16 can be read; convert the file to one of them")
        }
        return entry
    }

    /// Reads a tensor into memory of the same shape, F16 and BF16 widened (exactly) to float32.
    /// The workers of `pool` share it out.
    public func read(_ name: String, into tensor: Tensor<Float>, on pool: WorkerPool = WorkerPool(threads: 1)) throws {
        let entry = try check(name, shape: tensor.shape)
        let parts = ranges(of: tensor.count, size: 1 << 18)
        try pool.forEach(parts.count, phase: "reading of tensors", cancellation: nil) { index, _ in
            try read(entry, from: parts[index].lowerBound, into: .init(rebasing: tensor.elements[parts[index]]))
        }
    }

    /// Reads elements of a tensor from number `first` on, as many as there is room for.
    package func read(_ entry: Entry, from first: Int, into elements: UnsafeMutableBufferPointer<Float>) throws {
        let begin = entry.range.lowerBound + first * entry.dtype.byteCount
        if entry.dtype == .f32 {
            return try file.read(at: begin, into: UnsafeMutableRawBufferPointer(elements))
        }
        var chunk = [UInt16](repeating: 0, count: min(elements.count, 1 << 19))
        for start in stride(from: 0, to: elements.count, by: chunk.count) {
            let count = min(chunk.count, elements.count - start)
            try chunk.withUnsafeMutableBytes { bytes in
                let part = UnsafeMutableRawBufferPointer(rebasing: bytes[..<(2 * count)])
                try file.read(at: begin + 2 * start, into: part)
            }
            let output = elements.baseAddress! + start
            if entry.dtype == .bf16 {
                for i in 0..<count { output[i] = BFloat16(bits: chunk[i]).float }
            } else {
                for i in 0..<count { output[i] = Float(Float16(bitPattern: chunk[i])) }
            }
        }
    }

    // MARK: - Checking

    private static func damaged(_ path: String, _ what: String) -> UserError {
        UserError(
            .data, "\(path): \(what)",
            hint: "the file is damaged or incomplete, or no safetensors file: copy or download it again")
    }

    private static func readHeader(
        _ file: RegularFile, _ path: String
    ) throws -> (header: JSONValue.Object, dataStart: Int) {
        let fileSize = file.size
        guard fileSize >= 8 else { throw damaged(path, "only \(fileSize) bytes, too short for a header") }
        var length: UInt64 = 0
        try withUnsafeMutableBytes(of: &length) { try file.read(at: 0, into: $0) }
        length = UInt64(littleEndian: length)
        guard length <= UInt64(fileSize - 8) else {
            throw damaged(path, "the header should be \(length) bytes long, but the file has only \(fileSize)")
        }
        guard length <= UInt64(SafeTensors.maxHeaderBytes) else {
            throw damaged(path, "a header of \(length) bytes is beyond the limit of \(SafeTensors.maxHeaderBytes)")
        }
        var bytes = [UInt8](repeating: 0, count: Int(length))
        try bytes.withUnsafeMutableBytes { try file.read(at: 8, into: $0) }
        return (try parse(bytes, path), 8 + bytes.count)
    }

    private static func parse(_ bytes: [UInt8], _ path: String) throws -> JSONValue.Object {
        let json: JSONValue
        do { json = try JSONValue(json: bytes) } catch { throw damaged(path, "the header does not read: \(error)") }
        guard case .object(let members) = json else { throw damaged(path, "the header is no JSON object") }
        if case .object(let metadata)? = members[SafeTensors.metadataKey],
            metadata.contains(where: { $1.string == nil })
        {
            throw damaged(path, "the header does not read: \(SafeTensors.metadataKey.text) holds more than text")
        }
        return members
    }

    private static func checked(
        _ header: JSONValue.Object, dataStart: Int, fileSize: Int, _ path: String
    ) throws -> [Entry] {
        let dataSize = fileSize - dataStart
        var entries: [Entry] = []
        for (key, json) in header.sorted(by: { $0.key.text < $1.key.text }) where key != SafeTensors.metadataKey {
            let name = key.text
            func member<Value>(_ key: String, _ value: (JSONValue) -> Value?) throws -> Value {
                if let value = value(json[key]) { return value }
                throw damaged(
                    path,
                    "the header does not read: \(name): \"\(key)\" is \(json[key] == .null ? "missing" : "not right")")
            }
            let type = try member("dtype", \.string)
            let (shape, offsets) = try (member("shape", \.integers), member("data_offsets", \.integers))
            guard let dtype = SafeTensors.DType(rawValue: type) else {
                throw UserError(
                    .data, "\(path): tensor \(name) has the unknown element type \"\(type)\"",
                    hint: "F32, F16 and BF16 can be read; convert the file to one of them")
            }
            guard offsets.count == 2, case let (begin, end) = (offsets[0], offsets[1]), begin >= 0, begin <= end,
                end <= dataSize
            else {
                throw damaged(
                    path,
                    "tensor \(name) has data_offsets \(offsets), but the data is \(dataSize) bytes long")
            }
            guard let needed = byteCount(shape, dtype), needed == end - begin else {
                throw damaged(path, "tensor \(name), \(type) of shape \(shape), has \(end - begin) bytes of data")
            }
            entries.append(Entry(name: name, dtype: dtype, shape: shape, range: dataStart + begin..<dataStart + end))
        }
        guard Set(entries.map(\.name)).count == entries.count else {
            throw damaged(path, "two tensors have names that differ in nothing that is seen")
        }
        entries.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var (end, before) = (dataStart, "the header")
        for entry in entries {
            guard entry.range.lowerBound == end else {
                let fault = entry.range.lowerBound < end ? "overlaps" : "leaves a hole after"
                throw damaged(path, "tensor \(entry.name) at byte \(entry.range.lowerBound) \(fault) \(before)")
            }
            (end, before) = (entry.range.upperBound, "tensor \(entry.name)")
        }
        guard end == fileSize else {
            throw damaged(path, "\(fileSize - end) bytes after \(before) belong to no tensor")
        }
        return entries
    }

    /// The size of a tensor, nil where the shape is impossible.
    private static func byteCount(_ shape: [Int], _ dtype: SafeTensors.DType) -> Int? {
        var bytes = dtype.byteCount
        for dimension in shape {
            let (product, overflow) = bytes.multipliedReportingOverflow(by: dimension)
            if dimension < 0 || overflow { return nil }
            bytes = product
        }
        return bytes
    }
}
