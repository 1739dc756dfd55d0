import Files
import Foundation

/// A tensor that a reference computed.
public struct GoldenTensor: Sendable {
    public let shape: [Int]
    /// The values, widened if they were float32.
    public let doubles: [Double]
    public var floats: [Float] { doubles.map(Float.init) }
}

/// One golden case: `<name>.json` with the settings of a reference's run and an index into
/// `<name>.bin`, which holds its tensors (C order, little endian).
public struct GoldenCase: Sendable, CustomStringConvertible {
    public let name: String
    public let folder: URL
    public var description: String { name }
    /// The JSON file: `hyper`, `lr`, `params`, `results` and so on, depending on the case.
    public let fields: JSONValue
    /// The keys of all tensors, in the order of the file.
    public let keys: [String]
    private let index: [String: Entry]
    private let data: Data

    private struct Entry {
        let dtype: String
        let shape: [Int]
        let offset: Int
        let nbytes: Int
    }

    /// Reads `<folder>/<name>.json` and `.bin`.
    public init(_ name: String, in folder: URL) throws {
        self.name = name
        self.folder = folder
        fields = try JSONValue(json: Array(Data(contentsOf: folder.appending(path: "\(name).json"))))
        let entries = try (fields.tensors.array ?? []).map { entry in
            guard let key = entry.key.string, let dtype = entry.dtype.string, let shape = entry.shape.ints,
                let offset = entry.offset.int, let nbytes = entry.nbytes.int
            else { throw GoldenError("\(name): an entry of `tensors` is incomplete") }
            return (key, Entry(dtype: dtype, shape: shape, offset: offset, nbytes: nbytes))
        }
        keys = entries.map(\.0)
        index = Dictionary(entries) { first, _ in first }
        data =
            entries.isEmpty
            ? Data() : try Data(contentsOf: folder.appending(path: "\(name).bin"), options: .alwaysMapped)
    }

    /// The tensor under `key` ("m8x8/grad@3"); nil if the case has none.
    public func tensor(_ key: String) throws -> GoldenTensor? {
        guard let entry = index[key] else { return nil }
        guard entry.offset >= 0, entry.nbytes >= 0, entry.offset + entry.nbytes <= data.count else {
            throw GoldenError("\(name): tensor \(key) lies outside of the .bin file")
        }
        let bytes = data.subdata(in: entry.offset..<entry.offset + entry.nbytes)
        let values: [Double]
        switch entry.dtype {
        case "f32": values = bytes.elements(Float.self).map(Double.init)
        case "f64": values = bytes.elements(Double.self)
        default: throw GoldenError("\(name): tensor \(key) has the unknown type \(entry.dtype)")
        }
        guard values.count == entry.shape.reduce(1, *) else {
            throw GoldenError("\(name): tensor \(key) has \(values.count) values for the shape \(entry.shape)")
        }
        return GoldenTensor(shape: entry.shape, doubles: values)
    }

    /// The tensor under `key`, which must be there.
    public func required(_ key: String) throws -> GoldenTensor {
        guard let tensor = try tensor(key) else { throw GoldenError("\(name): there is no tensor \(key)") }
        return tensor
    }
}

extension Data {
    fileprivate func elements<Element: BitwiseCopyable>(_: Element.Type) -> [Element] {
        withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: MemoryLayout<Element>.stride).map {
                bytes.loadUnaligned(fromByteOffset: $0, as: Element.self)
            }
        }
    }
}

extension GoldenCase {
    /// The cases in `Fixtures` beside the calling test file, and in the folder that `COSMOS_GOLDEN_DIR` names, whose
    /// names `isIncluded` takes. Throws where a folder holds no case at all, or all of them none of this kind: a
    /// test over no cases would pass.
    public static func all(
        besides file: String = #filePath, environment: [String: String] = ProcessInfo.processInfo.environment,
        where isIncluded: (String) -> Bool
    ) throws -> [GoldenCase] {
        let fixtures = URL(filePath: file).deletingLastPathComponent().appending(path: "Fixtures")
        let folders = [fixtures] + (environment["COSMOS_GOLDEN_DIR"].map { [URL(filePath: $0)] } ?? [])
        let cases = try folders.flatMap { folder in
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path(percentEncoded: false))
                .filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }.sorted()
            guard !names.isEmpty else { throw GoldenError("\(folder.path()) holds no golden cases (*.json)") }
            return try names.filter(isIncluded).map { try GoldenCase($0, in: folder) }
        }
        guard !cases.isEmpty else { throw GoldenError("no golden case of this kind in \(folders.map { $0.path() })") }
        return cases
    }
}

/// A golden case that cannot be read.
public struct GoldenError: Error, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
