/// A mistake of the user's, or of the world's (a full disk): printed once as `error:` and `hint:`,
/// never with a stack trace. The message says what and where (file, line, offset) and gives the
/// value; the hint says what to do.
public struct UserError: Error, Equatable, CustomStringConvertible, Sendable {
    /// What kind of mistake; the raw value is the program's exit code (from sysexits.h).
    public enum Kind: Int32, Sendable {
        case usage = 64
        case data = 65
        case inputOutput = 74
    }

    public let kind: Kind
    public let message: String
    public let hint: String?

    public init(_ kind: Kind, _ message: String, hint: String? = nil) {
        self.kind = kind
        self.message = message
        self.hint = hint
    }

    public var description: String {
        ("error: \(message)" + (hint.map { "\nhint: \($0)" } ?? "")).split(
            separator: "\n", omittingEmptySubsequences: false
        ).map { line in
            // Names and values come from files, and may be of any length.
            line.utf8.count <= 4000 ? String(line) : "\(line.prefix(1000)) [...] \(line.suffix(500))"
        }.joined(separator: "\n").printable
    }
}

extension String {
    /// The text with its control characters, but tabs and line ends, written as escapes (`\x1b`), and so are those
    /// that turn the direction of writing: what comes out of a file must not command the terminal.
    public var printable: String {
        func isPlain(_ scalar: Unicode.Scalar) -> Bool {
            switch scalar.value {
            case 0x09, 0x0A, 0x20..<0x7F: true
            case 0..<0xA0, 0x202A...0x202E, 0x2066...0x2069: false
            default: true
            }
        }
        if unicodeScalars.allSatisfy(isPlain) { return self }
        return unicodeScalars.map { isPlain($0) ? String($0) : $0.escape }.joined()
    }
}

extension Unicode.Scalar {
    /// `\x1b`, or `\u202e`, as YAML and JSON write it.
    package var escape: String {
        let isByte = value < 0x100
        let digits = String(value, radix: 16)
        return (isByte ? "\\x" : "\\u") + String(repeating: "0", count: (isByte ? 2 : 4) - digits.count) + digits
    }
}

/// The candidate nearest to `word` by edit distance (a swap of neighbours counts once; case and
/// `-` for `_` count nothing), nil when none is near enough to be a typing mistake.
public func closestMatch(to word: String, in candidates: [String]) -> String? {
    // Nobody mistypes longer names, and a damaged file can have one of millions of letters.
    let longest = 200
    let candidates = candidates.filter { $0.utf8.count <= longest }
    if word.utf8.count > longest { return nil }
    func folded(_ text: String) -> [Character] { text.lowercased().map { $0 == "-" ? "_" : $0 } }
    let word = folded(word)
    let nearest = candidates.map { (name: $0, distance: editDistance(word, folded($0))) }
        .min { $0.distance < $1.distance }
    guard let nearest, nearest.distance <= max(1, min(word.count, nearest.name.count) / 3),
        // A name of one letter would be near to every other.
        nearest.distance < max(word.count, nearest.name.count), !word.isEmpty
    else { return nil }
    return nearest.name
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b`
/// (restricted Damerau-Levenshtein).
private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
    var rows = [Array(0...b.count)]
    for i in 0..<a.count {
        var row = [i + 1]
        for j in 0..<b.count {
            var best = min(row[j] + 1, rows[i][j + 1] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, rows[i - 1][j - 1] + 1) }
            row.append(best)
        }
        rows.append(row)
    }
    return rows[a.count][b.count]
}
