import Console

/// Counts lines that hold no document, and says what is to be said of them.
struct BadLines {
    let skip: Bool
    let notice: (String) -> Void
    private(set) var count = 0
    private var first: BadDocument?
    private var examples: [String] = []
    private let shown = 5

    init(skip: Bool, notice: @escaping (String) -> Void) {
        self.skip = skip
        self.notice = notice
    }

    /// Whether nothing more is to be written.
    var isStopping: Bool { first != nil }

    mutating func add(_ bad: BadDocument) throws {
        if !bad.isLine {
            // Nothing less than the whole file could be skipped.
            if isStopping { return }
            throw UserError(
                .data, "\(bad.record.path): \(bad.reason)",
                hint: "convert it: iconv -f ENCODING -t UTF-8 \(bad.record.path)")
        }
        if !skip, let first, first.record.path != bad.record.path { return }
        count += 1
        if skip {
            if count <= shown { notice("warning: \(bad.place): \(bad.reason); skipped") }
            if count == shown + 1 { notice("warning: further bad lines are skipped and counted at the end") }
        } else if first == nil {
            first = bad
        } else if examples.count < shown {
            examples.append(String(bad.record.line))
        }
    }

    func finish() throws {
        guard let first else { return }
        let others =
            count == 1
            ? "; the file's only bad line"
            : "; \(count) bad lines in this file, also at line \(examples.joined(separator: ", "))"
                + (count - 1 > examples.count ? " ..." : "")
        throw UserError(
            .data, "\(first.place): \(first.reason)\(others)",
            hint: "repair the file, or go on without such lines with --skip-bad-lines")
    }
}
