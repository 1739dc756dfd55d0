import Foundation
import Synchronization

/// The last lines of a person's terminal, redrawn in place while a long task runs: the one display of
/// progress, whoever makes the text. Where the output is no terminal (a file, a batch system), a line of
/// its own now and then. Safe to use from any thread.
public final class StatusLine: Sendable {
    public let isTerminal: Bool
    private let descriptor: Int32
    private let interval: Double
    private let state: Mutex<State>

    private struct State {
        var shownAt = -Double.infinity
        var text = ""
        /// The lengths of the lines that are on the screen.
        var drawn: [Int] = []
    }

    /// `interval`: seconds between redraws on a terminal. `logInterval`: seconds between lines
    /// elsewhere; the first appears after that time, for short tasks need none. `terminal`: the type of
    /// the terminal; a dumb one cannot redraw.
    public init(
        descriptor: Int32 = STDERR_FILENO, interval: Double = 0.1, logInterval: Double = 20,
        terminal: String? = ProcessInfo.processInfo.environment["TERM"]
    ) {
        self.descriptor = descriptor
        isTerminal = isatty(descriptor) == 1 && terminal != "dumb"
        self.interval = isTerminal ? interval : logInterval
        state = Mutex(State(shownAt: isTerminal ? -.infinity : Self.now()))
    }

    deinit { finish() }

    /// Shows `text` if it is time for it; `text` is only made then, and told the width.
    public func show(_ text: (_ width: Int) -> String) {
        state.withLock { state in
            let now = Self.now()
            guard now - state.shownAt >= interval else { return }
            state.shownAt = now
            state.text = text(isTerminal ? size.columns - 1 : .max)
            draw(&state)
        }
    }

    /// Shows what a task says.
    public func show(_ text: @autoclosure () -> ProgressText) { show { text().text(width: $0) } }

    /// Shows a line.
    public func show(_ text: String) { show { _ in text } }

    /// Prints a line that stays, above the status. A result goes to the standard output, where the status is on the
    /// standard error.
    public func print(_ line: String, isResult: Bool = false) {
        state.withLock { state in
            let isDrawn = !state.drawn.isEmpty
            emit(erasing(&state))
            emit(line.printable + "\n", to: isResult && descriptor == STDERR_FILENO ? STDOUT_FILENO : descriptor)
            if isDrawn { draw(&state) }
        }
    }

    /// Ends the status with a line that stays, or with none.
    public func finish(_ line: String? = nil) {
        state.withLock { state in
            emit(erasing(&state) + (line.map { $0.printable + "\n" } ?? ""))
        }
    }

    private func draw(_ state: inout State) {
        let text = state.text.printable
        guard isTerminal else { return emit(text + "\n") }
        // What wraps, or does not fit the screen, could not be redrawn.
        let (columns, rows) = size
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).prefix(rows - 1)
            .map { String($0.prefix(columns - 1)) }
        emit(erasing(&state) + lines.joined(separator: "\n"))
        state.drawn = lines.map(\.count)
    }

    /// What takes the drawn lines away. In a terminal that has become narrower they take more rows than before.
    private func erasing(_ state: inout State) -> String {
        defer { state.drawn = [] }
        let columns = size.columns
        let rows = state.drawn.reduce(0) { $0 + max(1, ($1 + columns - 1) / columns) }
        return switch rows {
        case 0: ""
        case 1: "\r\u{1b}[K"
        default: "\r\u{1b}[\(rows - 1)A\u{1b}[J"
        }
    }

    /// The terminal's size now.
    public var size: (columns: Int, rows: Int) {
        var size = winsize()
        let isKnown = ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        return isKnown ? (max(Int(size.ws_col), 2), max(Int(size.ws_row), 2)) : (80, 24)
    }

    /// Progress is not worth an error: a closed terminal does not stop a run.
    private func emit(_ text: String, to target: Int32? = nil) {
        _ = writeAll(text, to: target ?? descriptor)
    }

    /// Seconds on a clock that never jumps.
    public static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
