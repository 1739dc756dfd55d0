import Files

extension JSONValue {
    /// The same as a configuration, so that one table checks both.
    public func configuration(source: String) -> ConfigurationNode {
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
                    values.sorted { $0.key.text < $1.key.text }.map {
                        .init(key: $0.key.text, source: source, value: $0.value.configuration(source: source))
                    })
            }
        return ConfigurationNode(kind, source: source)
    }
}
