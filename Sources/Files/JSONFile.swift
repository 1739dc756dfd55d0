import Console
import Foundation

/// Small JSON files that people may read: keys sorted, indented.
package enum JSONFile {
    package static func encode(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        var data = try encoder.encode(value)
        data.append(UInt8(ascii: "\n"))
        return data
    }

    /// The members of an object.
    package static func object(_ path: String) throws -> JSONValue.Object {
        guard case .object(let members) = try parse(path).value else { throw damaged(path, "it is no JSON object") }
        return members
    }

    package static func read<Value: Decodable>(_: Value.Type = Value.self, path: String) throws -> Value {
        let bytes = try parse(path).bytes
        do { return try JSONDecoder().decode(Value.self, from: Data(bytes)) } catch let error as DecodingError {
            throw damaged(path, error.readable)
        }
    }

    /// A file above 64 MB is none of ours.
    private static func parse(_ path: String) throws -> (bytes: [UInt8], value: JSONValue) {
        let bytes = try RegularFile.contents(of: path, limit: 1 << 26)
        do { return (bytes, try JSONValue(json: bytes)) } catch { throw damaged(path, "\(error)") }
    }

    private static func damaged(_ path: String, _ what: String) -> UserError {
        UserError(.data, "\(path): \(what)", hint: "the file is damaged, or not of the kind that is expected")
    }
}

extension DecodingError {
    /// What is wrong and where: "weights, shape, [1]: Expected to decode Int but found a string instead."
    package var readable: String {
        func text(_ context: Context) -> String {
            let place = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }
                .joined(separator: ", ")
            return (place.isEmpty ? "" : place + ": ") + context.debugDescription
        }
        switch self {
        case .keyNotFound(let key, let context):
            let place = context.codingPath.map(\.stringValue).joined(separator: ", ")
            return (place.isEmpty ? "" : place + ": ") + "\"\(key.stringValue)\" is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return text(context)
        @unknown default: return "\(self)"
        }
    }
}
