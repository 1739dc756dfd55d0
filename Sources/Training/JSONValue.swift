import Configuration
import Foundation

/// Any JSON, where the keys are not known beforehand.
enum JSONValue: Codable, Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int.self) {
            self = .integer(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let values): try container.encode(values)
        case .object(let values): try container.encode(values)
        }
    }

    /// The same as a configuration, so that one table checks both.
    func configuration(source: String) -> ConfigurationNode {
        let kind: ConfigurationNode.Kind =
            switch self {
            case .null: .scalar("null", isQuoted: false)
            case .bool(let value): .scalar("\(value)", isQuoted: false)
            case .integer(let value): .scalar("\(value)", isQuoted: false)
            case .number(let value): .scalar("\(value)", isQuoted: false)
            case .string(let value): .scalar(value, isQuoted: true)
            case .array(let values): .list(values.map { $0.configuration(source: source) })
            case .object(let values):
                .map(
                    values.sorted { $0.key < $1.key }.map {
                        .init(key: $0.key, source: source, value: $0.value.configuration(source: source))
                    })
            }
        return ConfigurationNode(kind, source: source)
    }
}

/// Small JSON files that people may read: keys sorted, indented.
enum JSONFile {
    static func encode(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        var data = try encoder.encode(value)
        data.append(UInt8(ascii: "\n"))
        return data
    }

    /// Reads a file; `what` names it in messages. A file above 64 MB is none of ours.
    static func read<Value: Decodable>(_: Value.Type = Value.self, path: String) throws -> Value {
        let data = Data(try RegularFile.contents(of: path, limit: 1 << 26))
        do { return try JSONDecoder().decode(Value.self, from: data) } catch let error as DecodingError {
            throw UserError(
                .data, "\(path): \(error.readable)", hint: "the file is damaged, or not of the kind that is expected")
        }
    }
}

extension DecodingError {
    /// What is wrong and where: "weights, shape, [1]: Expected to decode Int but found a string instead."
    var readable: String {
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
