import Console

/// A section of the configuration: a struct of values, described once by `fields`. The same table
/// decodes it, prints it and documents it.
public protocol ConfigurationSection: Sendable {
    /// Every default.
    init()
    static var fields: [Field<Self>] { get }
    /// Checks relations between fields, and fills defaults that depend on other fields. Throws
    /// `FieldError`; the decoder adds file and line. By default there is nothing to check.
    mutating func validate() throws
}

extension ConfigurationSection {
    public mutating func validate() throws {}
}

/// What is wrong with a value. The decoder adds where it stands.
public struct FieldError: Error {
    /// Empty: the key whose value is being read.
    public let key: String
    public let problem: String
    public let hint: String?

    /// A value by itself; `problem` continues "optimizer.lr: ".
    public init(_ problem: String, hint: String? = nil) { self.init("", problem, hint: hint) }

    /// A value that is impossible beside the others of its section.
    public init(_ key: String, _ problem: String, hint: String? = nil) {
        (self.key, self.problem, self.hint) = (key, problem, hint)
    }
}

/// One key of a section: its name, its place in the struct, its type, its limits and what it is for.
public struct Field<Section>: Sendable {
    public let key: String
    /// One line.
    public let help: String
    /// "a number, 0 or greater".
    let type: String
    let isRequired: Bool
    let decode: @Sendable (_ node: ConfigurationNode, _ path: String, inout Section) throws -> Void
    let encode: @Sendable (Section) -> FieldText.Content
}

extension Field {
    private init<Value: ConfigurationValue>(
        key: String, _ path: WritableKeyPath<Section, Value> & Sendable, help: String, isRequired: Bool,
        check: Check<Value>?
    ) {
        // "a list of 2 numbers" says the type, too.
        let requirement = check.map {
            ($0.requirement.hasPrefix(Value.typeName) ? "" : "\(Value.typeName), ") + $0.requirement
        }
        self.init(
            key: key, help: help, type: requirement ?? Value.typeName, isRequired: isRequired,
            decode: { node, name, section in
                do {
                    let value = try Value(configuration: node)
                    if let check, !check.holds(value) {
                        throw FieldError("\(node.summary) must be \(check.requirement)")
                    }
                    section[keyPath: path] = value
                } catch let error as FieldError {
                    let present = isRequired ? "" : "; the default is \(section[keyPath: path].yaml)"
                    throw UserError(
                        .usage, "\(node.source): \(name): \(error.problem)",
                        hint: error.hint ?? "\(key): \(help)\(present)")
                }
            }, encode: { .value($0[keyPath: path].yaml) })
    }

    /// A key that may be left out; its default is what `Section.init()` has.
    public init<Value: ConfigurationValue>(
        _ key: String, _ path: WritableKeyPath<Section, Value> & Sendable, _ help: String, _ check: Check<Value>? = nil
    ) {
        self.init(key: key, path, help: help, isRequired: false, check: check)
    }

    public static func required<Value: ConfigurationValue>(
        _ key: String, _ path: WritableKeyPath<Section, Value> & Sendable, _ help: String, _ check: Check<Value>? = nil
    ) -> Field {
        Field(key: key, path, help: help, isRequired: true, check: check)
    }

    /// A key whose value may be null.
    public static func optional<Value: ConfigurationValue>(
        _ key: String, _ path: WritableKeyPath<Section, Value?> & Sendable, _ help: String,
        _ check: Check<Value>? = nil
    ) -> Field {
        Field(key, path, help, check.map { check in Check(check.requirement) { $0.map(check.holds) ?? true } })
    }

    /// A section that may be absent, or `null`: it then stays as it is by default.
    public static func optionalSection<Nested: ConfigurationSection>(
        _ key: String, _ path: WritableKeyPath<Section, Nested?> & Sendable, _ help: String
    ) -> Field {
        Field(
            key: key, help: help, type: "a section or null", isRequired: false,
            decode: { node, name, section in
                guard !node.isNull else { return }
                section[keyPath: path] = try Configuration.decode(
                    from: node, at: name, defaults: section[keyPath: path] ?? Nested())
            },
            encode: { $0[keyPath: path].map { .section($0.fieldTexts) } ?? .value("null") })
    }

    /// The same field of a section that has this one among its own keys, at `path`.
    public func within<Outer>(_ path: WritableKeyPath<Outer, Section> & Sendable) -> Field<Outer> {
        Field<Outer>(
            key: key, help: help, type: type, isRequired: isRequired,
            decode: { [decode] node, name, outer in try decode(node, name, &outer[keyPath: path]) },
            encode: { [encode] in encode($0[keyPath: path]) })
    }
}

/// Reads a section. `path` is its name in messages ("optimizer"); a nil node is an empty section.
///
/// Starts from `defaults`, then sets what is written. Throws `UserError` with file, line and value on
/// an unknown key (did you mean ...?), a wrong type, a value out of range, a missing required key.
public func decode<S: ConfigurationSection>(
    _: S.Type = S.self, from node: ConfigurationNode?, at path: String, defaults: S = S()
) throws -> S {
    var section = defaults
    let source = node.map { $0.source + ": " } ?? ""
    func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
    if let node, !node.isNull {
        guard let entries = node.entries else {
            throw UserError(
                .usage, "\(source)\(path): \(node.summary) is not a section",
                hint: "write `key: value` lines below `\(path):`, indented")
        }
        let fields = Dictionary(uniqueKeysWithValues: S.fields.map { ($0.key, $0) })
        for entry in entries {
            guard let field = fields[entry.key] else {
                throw unknownKey(entry, name: name(entry.key), known: S.fields.map(\.key))
            }
            try field.decode(entry.value, name(entry.key), &section)
        }
    }
    for field in S.fields where field.isRequired && node?[field.key] == nil {
        throw UserError(.usage, "\(source)\(name(field.key)) is missing", hint: "it is the \(field.help)")
    }
    do {
        try section.validate()
    } catch let error as FieldError {
        let place = (node?[error.key]?.source ?? node?.source).map { $0 + ": " } ?? ""
        throw UserError(.usage, "\(place)\(name(error.key)): \(error.problem)", hint: error.hint)
    }
    return section
}

public func unknownKey(_ entry: ConfigurationNode.Entry, name: String, known: [String]) -> UserError {
    let usual = foreignKeys[entry.key.lowercased()].map { path in
        let section = name.dropLast(entry.key.count)
        return path.hasPrefix(section) ? String(path.dropFirst(section.count)) : path
    }
    let nearest = usual ?? closestMatch(to: entry.key, in: known)
    return UserError(
        .usage, "\(entry.source): unknown key `\(name)`",
        hint: nearest.map { "did you mean `\($0)`?" } ?? "known here: " + known.joined(separator: ", "))
}
