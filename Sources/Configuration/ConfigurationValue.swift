import Console

/// A type that a single configuration value can have.
public protocol ConfigurationValue: Sendable {
    /// For messages and documentation: "a whole number", "true or false".
    static var typeName: String { get }
    /// Reads the value; throws `FieldError` saying what is wrong with it.
    init(configuration node: ConfigurationNode) throws
    /// The value in YAML, so that reading it back gives the same value.
    var yaml: String { get }
}

extension ConfigurationNode {
    public func mismatch(_ typeName: String, hint: String? = nil) -> FieldError {
        isNull
            ? FieldError("has no value", hint: "give \(typeName)")
            : FieldError("\(summary) is not \(typeName)", hint: hint)
    }

    /// The number written here, unquoted, finite, decimal; underscores between digits may group them.
    var number: Double? {
        guard case .scalar(let text, isQuoted: false) = kind, text.contains(where: \.isNumber),
            text.allSatisfy({ "0123456789+-.eE_".contains($0) }), text.firstMatch(of: /(^|\D)_|_(\D|$)/) == nil,
            let value = Double(text.replacing("_", with: "")), value.isFinite
        else { return nil }
        return value
    }

    /// Refuses what one reader of YAML takes for decimal and another for octal: 020.
    func refuseLeadingZero() throws {
        guard number != nil, let text, text.contains(/^[-+]?0[0-9_]/) else { return }
        throw FieldError("\(text) may be read as decimal or octal", hint: "write it without the leading zero")
    }
}

extension Int: ConfigurationValue {
    public static var typeName: String { "a whole number" }

    /// Accepts `5.0e9` where it is a whole number.
    public init(configuration node: ConfigurationNode) throws {
        try node.refuseLeadingZero()
        if node.number != nil, let text = node.text, let exact = Int(text.replacing("_", with: "")) {
            self = exact
        } else if let number = node.number, let exact = Int(exactly: number), number.magnitude <= 0x1p53 {
            self = exact
        } else {
            throw node.mismatch(Self.typeName)
        }
    }

    public var yaml: String { String(self) }
}

extension Double: ConfigurationValue {
    public static var typeName: String { "a number" }

    /// Never NaN or infinite, and a float32 can hold it, for that is what most numbers become.
    public init(configuration node: ConfigurationNode) throws {
        guard let number = node.number else { throw node.mismatch(Self.typeName, hint: "write it as 0.001 or 1.0e-3") }
        try node.refuseLeadingZero()
        let (least, greatest) = (Double(Float.leastNormalMagnitude), Double(Float.greatestFiniteMagnitude))
        guard number == 0 || (least...greatest).contains(number.magnitude) else {
            throw FieldError(
                "\(node.summary) is outside the range of a float32, 1.2e-38 to 3.4e38")
        }
        self = number
    }

    public var yaml: String {
        // Other readers of YAML take `1e-08` for text: they want a point in it.
        let text = description
        guard let exponent = text.firstIndex(of: "e"), !text.contains(".") else { return text }
        return text[..<exponent] + ".0" + text[exponent...]
    }
}

extension Bool: ConfigurationValue {
    public static var typeName: String { "true or false" }

    public init(configuration node: ConfigurationNode) throws {
        switch node.kind {
        case .scalar("true", isQuoted: false): self = true
        case .scalar("false", isQuoted: false): self = false
        default: throw node.mismatch(Self.typeName)
        }
    }

    public var yaml: String { description }
}

extension String: ConfigurationValue {
    public static var typeName: String { "text" }

    public init(configuration node: ConfigurationNode) throws {
        guard let text = node.text, !node.isNull else { throw node.mismatch(Self.typeName) }
        self = text
    }

    public var yaml: String {
        let plain = unicodeScalars.allSatisfy {
            $0.properties.isAlphabetic || ("0"..."9").contains($0) || "_-./%+*".unicodeScalars.contains($0)
        }
        let isWord = first.map { $0.isLetter || $0 == "/" || $0 == "." || $0.isNumber } ?? false
        let node = ConfigurationNode(.scalar(self, isQuoted: false), source: "")
        if plain, isWord, !node.isNull, !["true", "false"].contains(self), node.number == nil { return self }
        let escaped = unicodeScalars.map { scalar in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case _ where scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value): scalar.escape
            default: String(scalar)
            }
        }
        return "\"" + escaped.joined() + "\""
    }
}

extension String {
    /// Whether it can be the name of a file or folder.
    @Sendable public static func isPath(_ text: String) -> Bool { !text.isEmpty && !text.contains("\0") }
}

extension Array: ConfigurationValue where Element: ConfigurationValue {
    public static var typeName: String { "a list" }

    public init(configuration node: ConfigurationNode) throws {
        guard case .list(let items) = node.kind else { throw node.mismatch(Self.typeName, hint: "write it as [a, b]") }
        self = try items.map(Element.init(configuration:))
    }

    public var yaml: String { "[" + map(\.yaml).joined(separator: ", ") + "]" }
}

/// nil is `null`.
extension Optional: ConfigurationValue where Wrapped: ConfigurationValue {
    public static var typeName: String { Wrapped.typeName }

    public init(configuration node: ConfigurationNode) throws {
        self = node.isNull ? nil : try Wrapped(configuration: node)
    }

    public var yaml: String { self?.yaml ?? "null" }
}

/// An enumeration by its raw text gets its conformance from here.
extension ConfigurationValue where Self: RawRepresentable & CaseIterable, RawValue == String {
    public static var typeName: String { "one of " + allCases.map(\.rawValue).joined(separator: ", ") }

    public init(configuration node: ConfigurationNode) throws {
        guard let text = node.text, let value = Self(rawValue: text) else {
            let nearest = closestMatch(to: node.text ?? "", in: Self.allCases.map(\.rawValue))
            throw node.mismatch(Self.typeName, hint: nearest.map { "did you mean `\($0)`?" })
        }
        self = value
    }

    public var yaml: String { rawValue }
}

/// A condition on a value, in words that end "must be".
public struct Check<Value>: Sendable {
    let requirement: String
    let holds: @Sendable (Value) -> Bool

    public init(_ requirement: String, _ holds: @escaping @Sendable (Value) -> Bool) {
        self.requirement = requirement
        self.holds = holds
    }
}

extension Check where Value: Comparable & Numeric & Sendable {
    public static var positive: Self { Self("greater than 0") { $0 > 0 } }
    public static var nonNegative: Self { Self("0 or greater") { $0 >= 0 } }
    public static func range(_ range: ClosedRange<Value>) -> Self {
        Self("from \(range.lowerBound) to \(range.upperBound)") { range.contains($0) }
    }
    public static func range(_ range: Range<Value>) -> Self {
        Self("at least \(range.lowerBound) and below \(range.upperBound)") { range.contains($0) }
    }
    public static func atLeast(_ bound: Value) -> Self { Self("\(bound) or greater") { $0 >= bound } }
}

extension Check where Value == [Double] {
    /// Exactly `count` numbers, each passing `check`.
    public static func each(_ check: Check<Double>, count: Int) -> Self {
        Self("a list of \(count) numbers, each \(check.requirement)") {
            $0.count == count && $0.allSatisfy(check.holds)
        }
    }
}

extension Check where Value == String {
    public static var path: Self { Self("not empty, without zero bytes", String.isPath) }
}
