import Console
import TensorCore

/// How a rank tells the others of an error.
enum SharedError {
    private static let separator: Character = "\u{0}"

    /// Empty where there is none.
    static func encode<Result>(_ outcome: Swift.Result<Result, any Error>) -> [UInt8] {
        guard case .failure(let error) = outcome else { return [] }
        let fields: [String] =
            switch error {
            case is CancellationError: ["stop"]
            case let error as NumericalError: ["numbers", error.what, error.tensor]
            case let error as UserError: ["user", "\(error.kind.rawValue)", error.message, error.hint ?? ""]
            default: ["user", "\(UserError.Kind.inputOutput.rawValue)", "\(error)", ""]
            }
        return Array(fields.joined(separator: "\(separator)").utf8)
    }

    /// `rank`: who tells it, nil where that need not be said.
    static func decode(_ bytes: [UInt8], of rank: String?) -> (any Error)? {
        if bytes.isEmpty { return nil }
        let fields = String(decoding: bytes, as: UTF8.self).split(
            separator: separator, omittingEmptySubsequences: false
        )
        .map(String.init)
        switch fields[0] {
        case "stop": return CancellationError()
        case "numbers": return NumericalError(fields[1], tensor: fields[2])
        default:
            return UserError(
                Int32(fields[1]).flatMap(UserError.Kind.init) ?? .inputOutput,
                (rank.map { "\($0): " } ?? "") + fields[2], hint: fields[3].isEmpty ? nil : fields[3])
        }
    }
}
