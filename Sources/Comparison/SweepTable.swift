import Configuration
import Foundation

/// A sweep on the terminal: a line that stays for each run that ended, and below them the runs under
/// way, redrawn in place. Where the output is no terminal, only the lines that stay.
struct SweepTable {
    let isTerminal = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    private let nameWidth: Int
    private var drawnLines = 0
    private var shownAt = -Double.infinity

    init(names: [String]) { nameWidth = names.map(\.count).max() ?? 0 }

    /// A line that stays: a run, what became of it, and what is worth knowing.
    mutating func print(_ name: String, _ state: String, _ detail: String) {
        let name = name.padding(toLength: nameWidth, withPad: " ", startingAt: 0)
        say("\(name)  \(state.padding(toLength: 15, withPad: " ", startingAt: 0))  \(detail)")
    }

    /// A line that stays.
    mutating func say(_ line: String) {
        clear()
        emit(line + "\n")
    }

    /// Shows lines below those that stay, once a second.
    mutating func show(_ text: () -> String) {
        let now = StatusLine.now()
        guard isTerminal, now - shownAt >= 1 else { return }
        shownAt = now
        let lines = text().split(separator: "\n").map { $0.prefix(columns - 1) }
        clear()
        emit(lines.map { $0 + "\n" }.joined())
        drawnLines = lines.count
    }

    /// Takes the lines of `show` away.
    mutating func clear() {
        if drawnLines > 0 { emit("\u{1b}[\(drawnLines)A\r\u{1b}[J") }
        drawnLines = 0
        shownAt = -.infinity
    }

    private var columns: Int {
        var size = winsize()
        return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 80
    }

    private func emit(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
