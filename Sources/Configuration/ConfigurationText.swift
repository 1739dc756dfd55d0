struct FieldText {
    indirect enum Content {
        /// In YAML.
        case value(String)
        case section([FieldText])
    }
    let key: String
    let content: Content
    let type: String
    let isRequired: Bool
    let help: String
}

extension ConfigurationSection {
    var fieldTexts: [FieldText] {
        Self.fields.map {
            FieldText(key: $0.key, content: $0.encode(self), type: $0.type, isRequired: $0.isRequired, help: $0.help)
        }
    }

    /// The section as YAML lines, each with its help as a comment, indented by `indent` spaces.
    /// Decoding them gives an equal section.
    public func yaml(indent: Int = 0) -> String { yamlLines(fieldTexts, indent) }

    /// Every value by its key, nested keys dotted ("adam.lr"), as YAML.
    public var values: [(key: String, value: String)] { flattened(fieldTexts, "").map { ($0.key, $0.value) } }

    /// A table of keys, defaults, types and meanings, one field a line.
    public static var documentation: String {
        let rows = flattened(Self().fieldTexts, "").map {
            [$0.key, $0.field.isRequired ? "required" : $0.value, $0.field.help + " (\($0.field.type))"]
        }
        return aligned(rows)
    }
}

/// Rows of cells as text, all columns but the last padded to the widest cell, two spaces between.
public func aligned(_ rows: [[String]]) -> String {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
        row.enumerated().map { index, cell in
            index + 1 == row.count ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
        }.joined(separator: "  ")
    }.joined(separator: "\n")
}

private func flattened(_ texts: [FieldText], _ prefix: String) -> [(key: String, value: String, field: FieldText)] {
    texts.flatMap { text in
        switch text.content {
        case .value(let value): [(prefix + text.key, value, text)]
        case .section(let nested): flattened(nested, prefix + text.key + ".")
        }
    }
}

private func yamlLines(_ texts: [FieldText], _ indent: Int) -> String {
    let margin = String(repeating: " ", count: indent)
    var lines = ""
    var rows: [[String]] = []
    func flush() {
        if !rows.isEmpty { lines += aligned(rows) + "\n" }
        rows = []
    }
    for text in texts {
        switch text.content {
        case .value(let value):
            rows.append(["\(margin)\(text.key): \(value)", "# \(text.help)"])
        case .section(let nested):
            flush()
            lines += "\(margin)\(text.key):  # \(text.help)\n" + yamlLines(nested, indent + 2)
        }
    }
    flush()
    return lines
}
