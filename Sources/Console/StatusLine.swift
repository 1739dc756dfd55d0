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
        var drawnLines = 0
    }

    /// `interval`: seconds between redraws on a terminal. `logInterval`: seconds between lines
    /// elsewhere; the first appears after that time, for short tasks need none.
    public init(descriptor: Int32 = STDERR_FILENO, interval: Double = 0.1, logInterval: Double = 20) {
        self.descriptor = descriptor
        isTerminal = isatty(descriptor) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
        self.interval = isTerminal ? interval : logInterval
        state = Mutex(State(shownAt: isTerminal ? -.infinity : Self.now()))
    }

    deinit { finish() }

    /// Shows `text` if it is time for it; `text` is only made then.
    public func show(_ text: @autoclosure () -> String) {
        state.withLock { state in
            let now = Self.now()
            guard now - state.shownAt >= interval else { return }
            state.shownAt = now
            state.text = text()
            draw(&state)
        }
    }

    /// Prints a line that stays, above the status.
    public func print(_ line: String) {
        state.withLock { state in
            let isDrawn = state.drawnLines > 0
            emit(erasing(&state) + line.printable + "\n")
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
        // A line that wraps could not be redrawn.
        let width = max(columns - 1, 20)
        let lines = text.split(separator: "\n").map { $0.prefix(width) }
        emit(erasing(&state) + lines.joined(separator: "\n"))
        state.drawnLines = lines.count
    }

    /// What takes the drawn lines away.
    private func erasing(_ state: inout State) -> String {
        defer { state.drawnLines = 0 }
        return switch state.drawnLines {
        case 0: ""
        case 1: "\r\u{1b}[K"
        default: "\r\u{1b}[\(state.drawnLines - 1)A\u{1b}[J"
        }
    }

    private var columns: Int {
        var size = winsize()
        return ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    }

    /// Progress is not worth an error: a closed terminal does not stop a run.
    private func emit(_ text: String) {
        var text = text
        _ = text.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: descriptor, at: nil) }
    }

    /// Seconds on a clock that never jumps.
    public static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
