import Console
import Files
import Foundation
import Yams

extension ConfigurationNode {
    /// Reads the YAML file at `path`, whose root is a map (an empty file is an empty map).
    ///
    /// Throws `UserError` with file and line on anything that is not one plain YAML document in
    /// UTF-8, and on a key given twice.
    public init(contentsOfFile path: String) throws {
        let sizeLimit = 1 << 20
        guard try RegularFile(path).size <= sizeLimit else {
            throw UserError(
                .usage, "\(path): larger than \(sizeLimit) bytes, so not a configuration",
                hint: "configurations are short YAML files such as those in configs/")
        }
        var bytes = try RegularFile.contents(of: path, limit: sizeLimit)
        // A byte order mark says nothing: UTF-8 has one order.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw UserError(
                .usage, "\(path):\(bytes.lineOfInvalidUTF8): not UTF-8 text", hint: "save the file as UTF-8")
        }
        try self.init(yaml: text, file: path)
    }

    /// Parses YAML text; `file` is its name in messages.
    public init(yaml text: String, file: String) throws {
        let root = try parse(text, file) { "\(file):\($0)" }
        guard let root else {
            self.init(.map([]), source: file)
            return
        }
        guard root.entries != nil || root.isNull else {
            throw UserError(
                .usage, "\(root.source): a configuration is a map of sections, not \(root.summary)",
                hint: "write sections such as `model:` with indented `key: value` lines")
        }
        self.init(.map(root.entries ?? []), source: file)
    }

    /// The overlay that an assignment of the command line stands for: `section.key=value`, the value
    /// in YAML.
    public init(assignment: String) throws {
        let parts = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let keys = parts[0].split(separator: ".", omittingEmptySubsequences: false).map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        guard parts.count == 2, !keys.contains("") else {
            throw UserError(
                .usage, "--set \(assignment): not of the form section.key=value",
                hint: "for example --set optimizer.lr=1.0e-3")
        }
        let source = "--set " + parts[0]
        let value = try parse(String(parts[1]), source) { _ in source }
        self = keys.reversed().reduce(value ?? ConfigurationNode(.scalar("", isQuoted: false), source: source)) {
            ConfigurationNode(.map([Entry(key: $1, source: source, value: $0)]), source: source)
        }
    }
}

/// Composes YAML into nodes; `place` turns a line into a source.
private func parse(_ text: String, _ file: String, place: (Int) -> String) throws -> ConfigurationNode? {
    func failure(_ line: Int, _ problem: String, hint: String? = nil) -> UserError {
        UserError(
            .usage, "\(place(line)): \(problem)",
            hint: hint
                ?? (file.hasPrefix("--set")
                    ? "the value is YAML; write text with special characters in \"quotes\""
                    : "write `key: value`, indented below its section; text with special characters in \"quotes\""))
    }
    var nodeCount = 0
    func convert(_ node: Node) throws -> ConfigurationNode {
        let line = node.mark?.line ?? 1
        nodeCount += 1
        guard nodeCount <= 10_000 else { throw failure(line, "too many values, or aliases (*) of aliases") }
        switch node {
        case .scalar(let scalar):
            return ConfigurationNode(
                .scalar(scalar.string, isQuoted: scalar.style != .plain && scalar.style != .any), source: place(line))
        case .sequence(let items):
            return try ConfigurationNode(.list(items.map(convert)), source: place(line))
        case .mapping(let pairs):
            return try ConfigurationNode(
                .map(
                    pairs.map { key, value in
                        guard case .scalar(let name) = key else {
                            throw failure(key.mark?.line ?? line, "a key is a word, not a list or map")
                        }
                        return ConfigurationNode.Entry(
                            key: name.string, source: place(name.mark?.line ?? line), value: try convert(value))
                    }), source: place(line))
        case .alias:
            throw failure(line, "an alias (*) of nothing")
        }
    }
    do {
        return try Yams.compose(yaml: text).map(convert)
    } catch let error as YamlError {
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let line = text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst(mark.line - 1).first
            throw failure(
                mark.line, "not valid YAML: \(problem)" + (context.map { " (\($0.text))" } ?? ""),
                hint: line?.contains("\t") == true ? "indent with spaces; YAML forbids tabs" : nil)
        case .duplicatedKeysInMapping(let duplicates, let context):
            // Yams gives the place of the first occurrence: look for the second, equally indented.
            let name = duplicates.sorted().first ?? ""
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            let first = max(0, context.mark.line - 1)
            let indented = String(repeating: " ", count: max(0, context.mark.column - 1)) + name + ":"
            let second = lines.indices.dropFirst(first + 1).first { lines[$0].hasPrefix(indented) }
            throw failure(
                (second ?? first) + 1,
                "`\(name)` is given twice in the same section", hint: "keep one of the two")
        case .reader(let problem, let offset, _, _):
            let line = 1 + text.utf8.prefix(offset ?? 0).count { $0 == UInt8(ascii: "\n") }
            throw failure(line, "not text: \(problem)")
        default:
            throw failure(1, "not valid YAML: \(error)")
        }
    }
}

extension [UInt8] {
    /// The line, from 1, of the first byte that is not UTF-8.
    fileprivate var lineOfInvalidUTF8: Int {
        var decoder = UTF8()
        var bytes = makeIterator()
        var line = 1
        while case .scalarValue(let scalar) = decoder.decode(&bytes) {
            if scalar == "\n" { line += 1 }
        }
        return line
    }
}
