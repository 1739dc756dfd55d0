/// Any JSON value. The one reader of JSON: strict, so that no two programs read a file in two ways.
@dynamicMemberLookup
public enum JSONValue: Encodable, Equatable, Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(Object)

    public typealias Object = [Key: JSONValue]

    /// A name in an object. Strings that look alike, such as an é in one character and in two, are equal; names are not.
    public struct Key: Hashable, ExpressibleByStringLiteral, Sendable {
        public let text: String

        public init(_ text: String) { self.text = text }
        public init(stringLiteral text: String) { self.text = text }

        public static func == (a: Key, b: Key) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }
        public func hash(into hasher: inout Hasher) { for byte in text.utf8 { hasher.combine(byte) } }
    }

    /// Reads JSON (RFC 8259) in UTF-8 and nothing beyond it: no comma before a closing bracket, no key twice in
    /// an object, no comments, no NaN.
    public init(json bytes: UnsafeRawBufferPointer) throws(JSONError) {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw JSONError("it is not UTF-8 text", at: 0) }
        var parser = Parser(bytes: bytes)
        self = try parser.document()
    }

    public init(json bytes: [UInt8]) throws(JSONError) {
        self = try bytes.withUnsafeBytes { bytes in
            Result { () throws(JSONError) in try JSONValue(json: bytes) }
        }.get()
    }

    /// The member `key` of an object; `null` where there is none.
    public subscript(key: String) -> JSONValue {
        if case .object(let members) = self { members[Key(key)] ?? .null } else { .null }
    }

    public subscript(dynamicMember key: String) -> JSONValue { self[key] }

    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    public var string: String? { if case .string(let value) = self { value } else { nil } }

    public var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }

    /// Nil where it is no list of integers alone.
    public var integers: [Int]? {
        guard let array else { return nil }
        let numbers = array.compactMap { if case .integer(let number) = $0 { number } else { nil } }
        return numbers.count == array.count ? numbers : nil
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .array(let values): try container.encode(values)
        case .object(let values):
            try container.encode(
                Dictionary(values.map { ($0.key.text, $0.value) }, uniquingKeysWith: { first, _ in first }))
        }
    }
}

/// What keeps a text from being JSON, and where.
public struct JSONError: Error, CustomStringConvertible {
    public let problem: String
    /// Bytes before the place.
    public let offset: Int

    init(_ problem: String, at offset: Int) { (self.problem, self.offset) = (problem, offset) }

    public var description: String { "byte \(offset): \(problem)" }
}

/// Recursive descent over bytes known to be UTF-8.
private struct Parser {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    private static let deepest = 256

    init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func document() throws(JSONError) -> JSONValue {
        let value = try value(depth: 0)
        if next() != nil { throw unexpected("the end") }
        return value
    }

    /// The next byte that is no white space; nil at the end.
    private mutating func next() -> UInt8? {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            case let byte: return byte
            }
        }
        return nil
    }

    private func unexpected(_ wanted: String) -> JSONError {
        guard position < bytes.count else { return JSONError("it ends where \(wanted) is expected", at: position) }
        let rest = String(decoding: bytes[position..<min(position + 4, bytes.count)], as: UTF8.self)
        return JSONError("`\(rest.prefix(1))` where \(wanted) is expected", at: position)
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
        if depth > Self.deepest {
            throw JSONError("more than \(Self.deepest) brackets within each other", at: position)
        }
        switch next() ?? 0 {
        case UInt8(ascii: "{"):
            var object: JSONValue.Object = [:]
            try items(until: UInt8(ascii: "}")) { parser throws(JSONError) in
                guard parser.next() == UInt8(ascii: "\"") else { throw parser.unexpected("a key") }
                let start = parser.position
                let key = try parser.string()
                guard parser.next() == UInt8(ascii: ":") else { throw parser.unexpected("`:`") }
                parser.position += 1
                let value = try parser.value(depth: depth + 1)
                guard object.updateValue(value, forKey: JSONValue.Key(key)) == nil else {
                    throw JSONError("the key \"\(key)\" is there twice", at: start)
                }
            }
            return .object(object)
        case UInt8(ascii: "["):
            var array: [JSONValue] = []
            try items(until: UInt8(ascii: "]")) { parser throws(JSONError) in
                array.append(try parser.value(depth: depth + 1))
            }
            return .array(array)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default:
            for (word, value) in [("null", JSONValue.null), ("true", .bool(true)), ("false", .bool(false))]
            where bytes[position...].starts(with: word.utf8) {
                position += word.utf8.count
                return value
            }
            throw unexpected("a value")
        }
    }

    /// What stands between brackets, separated by commas.
    private mutating func items(
        until end: UInt8, _ item: (inout Parser) throws(JSONError) -> Void
    ) throws(JSONError) {
        position += 1
        if next() == end {
            position += 1
            return
        }
        while true {
            try item(&self)
            guard let byte = next(), byte == end || byte == UInt8(ascii: ",") else {
                throw unexpected("`,` or `\(Character(UnicodeScalar(end)))`")
            }
            position += 1
            if byte == end { return }
        }
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = position
        _ = skips("-")
        if !skips("0") { try digits() } else if isDigit { throw unexpected("no further digit") }
        var isWhole = true
        if skips(".") {
            isWhole = false
            try digits()
        }
        if skips("eE") {
            isWhole = false
            _ = skips("+-")
            try digits()
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let value = Int(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw JSONError("\(text) is too large", at: start) }
        return .number(value)
    }

    private var isDigit: Bool { position < bytes.count && (0x30...0x39).contains(bytes[position]) }

    private mutating func digits() throws(JSONError) {
        guard isDigit else { throw unexpected("a digit") }
        while isDigit { position += 1 }
    }

    /// Goes past one of the characters, if it is here.
    private mutating func skips(_ characters: String) -> Bool {
        guard position < bytes.count, characters.utf8.contains(bytes[position]) else { return false }
        position += 1
        return true
    }

    private mutating func string() throws(JSONError) -> String {
        position += 1
        let start = position
        var text: [UInt8] = []
        var copied = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                let rest = UnsafeRawBufferPointer(rebasing: bytes[copied..<position])
                position += 1
                if copied == start { return String(decoding: rest, as: UTF8.self) }
                text.append(contentsOf: rest)
                return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"):
                text.append(contentsOf: bytes[copied..<position])
                try appendEscaped(to: &text)
                copied = position
            case 0..<0x20: throw JSONError("a control character that is not escaped", at: position)
            default: position += 1
            }
        }
        throw unexpected("`\"`")
    }

    private mutating func appendEscaped(to text: inout [UInt8]) throws(JSONError) {
        switch position + 1 < bytes.count ? bytes[position + 1] : 0 {
        case let byte where "\"\\/".utf8.contains(byte): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        default:
            let start = position
            var unit = try hexadecimal()
            if (0xD800..<0xDC00).contains(unit), position < bytes.count, bytes[position] == UInt8(ascii: "\\") {
                let low = try hexadecimal()
                guard (0xDC00..<0xE000).contains(low) else { throw JSONError("half of a surrogate pair", at: start) }
                unit = 0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(unit) else { throw JSONError("half of a surrogate pair", at: start) }
            text.append(contentsOf: String(scalar).utf8)
            return
        }
        position += 2
    }

    /// The number in `\u00e9`.
    private mutating func hexadecimal() throws(JSONError) -> UInt32 {
        let digits = bytes[min(position + 2, bytes.count)..<min(position + 6, bytes.count)]
        guard position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u"), digits.count == 4,
            digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
            let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw unexpected("an escaped character") }
        position += 6
        return value
    }
}
