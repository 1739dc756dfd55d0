/// A value of a configuration that knows where it stands, so that an error about it can say so.
public struct ConfigurationNode: Sendable {
    public indirect enum Kind: Sendable {
        /// Text as written; quoted text is never read as a number, `null` or `true`.
        case scalar(String, isQuoted: Bool)
        case list([ConfigurationNode])
        case map([Entry])
    }

    public struct Entry: Sendable {
        public let key: String
        public let source: String
        public var value: ConfigurationNode

        public init(key: String, source: String, value: ConfigurationNode) {
            self.key = key
            self.source = source
            self.value = value
        }
    }

    public var kind: Kind
    /// `llama130m.cfg:12`, or `--set optimizer.lr`.
    public let source: String

    public init(_ kind: Kind, source: String) {
        self.kind = kind
        self.source = source
    }

    /// The entries of a map; nil for a scalar or a list.
    public var entries: [Entry]? { if case .map(let entries) = kind { entries } else { nil } }

    public subscript(key: String) -> ConfigurationNode? { entries?.first { $0.key == key }?.value }

    public var text: String? { if case .scalar(let text, _) = kind { text } else { nil } }

    /// Whether nothing is written here: `key:`, `key: ~` or `key: null`.
    public var isNull: Bool {
        if case .scalar(let text, isQuoted: false) = kind { ["", "~", "null"].contains(text) } else { false }
    }

    public func removing(_ key: String) -> ConfigurationNode {
        guard let entries else { return self }
        return ConfigurationNode(.map(entries.filter { $0.key != key }), source: source)
    }

    /// The same map with the value under `key`, if there is one, changed.
    public func replacing(_ key: String, _ change: (ConfigurationNode) -> ConfigurationNode) -> ConfigurationNode {
        guard var entries, let index = entries.firstIndex(where: { $0.key == key }) else { return self }
        entries[index].value = change(entries[index].value)
        return ConfigurationNode(.map(entries), source: source)
    }

    /// This configuration with `upper`'s values on top. Maps are joined key by key, everything else
    /// is replaced.
    public func overlaid(by upper: ConfigurationNode) -> ConfigurationNode {
        guard var entries, let upperEntries = upper.entries else { return upper }
        for entry in upperEntries {
            if let index = entries.firstIndex(where: { $0.key == entry.key }) {
                entries[index].value = entries[index].value.overlaid(by: entry.value)
            } else {
                entries.append(entry)
            }
        }
        return ConfigurationNode(.map(entries), source: source)
    }

    /// For messages: what is written here.
    public var summary: String {
        switch kind {
        case .scalar(let text, isQuoted: true): text.debugDescription
        case .scalar(let text, isQuoted: false): text
        case .list(let items): "[" + items.map(\.summary).joined(separator: ", ") + "]"
        case .map(let entries): "a section with " + entries.map(\.key).joined(separator: ", ")
        }
    }
}
