import Console
import Foundation
import Testing

@Suite struct FormatTests {
    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1_048_575, "1.00 MiB"), (4_831_838_208, "4.50 GiB"),
        (107_374_182_400, "100 GiB"),
    ])
    func bytes(_ count: Int, _ text: String) { #expect(Format.bytes(count) == text) }

    @Test(arguments: [
        (0, "0"), (950, "950"), (999, "999"), (1000, "1.00 K"), (12_345, "12.3 K"), (999_999, "1.00 M"),
        (5_000_000_000, "5.00 B"),
    ])
    func counts(_ count: Int, _ text: String) { #expect(Format.count(count) == text) }

    @Test func plurals() {
        #expect([0, 1, 2].map { Format.plural($0, "thread") } == ["0 threads", "1 thread", "2 threads"])
    }

    @Test(arguments: [(7, "7"), (1000, "1,000"), (-1_234_567, "-1,234,567"), (123, "123")])
    func grouped(_ count: Int, _ text: String) { #expect(Format.grouped(count) == text) }

    @Test(arguments: [
        (0.424, "0.42 s"), (1.26, "1.3 s"), (9.97, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"),
        (7620, "2 h 07 min"), (356_400, "4 d 03 h"), (.infinity, "-"), (.nan, "-"), (-1, "-"),
    ])
    func durations(_ seconds: Double, _ text: String) { #expect(Format.duration(seconds) == text) }
}

@Suite struct ProgressTests {
    @Test func aBarSaysHowMuchIsDoneAndHowLongIsLeft() {
        let text = ProgressBar.text(
            "tokenizing", done: 1_200_000, of: 3_000_000, .items("documents"), seconds: 40)
        #expect(text.text() == "tokenizing   40 %  1.20 M of 3.00 M documents  30.0 K/s  1 min 00 s left")
    }

    @Test func aBarOfUnknownSizeSaysHowMuchIsDone() {
        let text = ProgressBar.text("reading", done: 2048, of: 0, .bytes, seconds: 2)
        #expect(text.text() == "reading  2.00 KiB  1.00 KiB/s")
    }

    @Test func aHistoryKeepsItsShapeInFewParts() {
        var history = MeanHistory(capacity: 8)
        for step in 1...1000 { history.append(1 + 9 / Double(step)) }
        #expect(history.length == 128 && history.means.count == 8)
        #expect(abs(history.means[7] - (897...1000).map { 1 + 9 / Double($0) }.reduce(0, +) / 104) < 1e-9)
        #expect(history.sparkline == "██▇▄▃▂▂▁" || history.sparkline.hasSuffix("▁"), "\(history.sparkline)")
        #expect(MeanHistory(capacity: 8).sparkline == "")
    }

    /// Into a file, a line comes only after the interval, and messages always.
    @Test func aFileGetsPlainLines() throws {
        let path = NSTemporaryDirectory() + "cosmos-status-" + UUID().uuidString
        defer { unlink(path) }
        let descriptor = open(path, O_RDWR | O_CREAT, 0o600)
        defer { close(descriptor) }
        let line = StatusLine(descriptor: descriptor, logInterval: 0.05)
        line.show("too early")
        line.print("message")
        usleep(60_000)
        line.show("in time")
        line.show("too early again")
        line.finish("done")
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "message\nin time\ndone\n")
    }

    /// On a terminal the line is redrawn in place, cut to the width, and messages stand above it.
    @Test func aTerminalIsRedrawnInPlace() throws {
        var (primary, secondary) = (Int32(), Int32())
        var size = winsize(ws_row: 24, ws_col: 31, ws_xpixel: 0, ws_ypixel: 0)
        try #require(openpty(&primary, &secondary, nil, nil, &size) == 0)
        defer { close(primary); close(secondary) }
        #expect(!StatusLine(descriptor: secondary, terminal: "dumb").isTerminal)
        let line = StatusLine(descriptor: secondary, interval: 0, terminal: "xterm")
        try #require(line.isTerminal)
        line.show("step 1")
        line.print("message")
        line.show(String(repeating: "x", count: 99))
        line.finish()
        line.show("one\u{1b}[2J\ntwo")
        // 30 letters take two rows of a terminal that has become narrower.
        line.show(String(repeating: "x", count: 99))
        size.ws_col = 20
        try #require(ioctl(primary, UInt(TIOCSWINSZ), &size) == 0)
        line.finish()
        let erase = "\u{1b}[K"
        let expected =
            "step 1\r\(erase)message\r\nstep 1\r\(erase)\(String(repeating: "x", count: 30))\r\(erase)"
            + "one\\x1b[2J\r\ntwo\r\u{1b}[1A\u{1b}[J\(String(repeating: "x", count: 30))\r\u{1b}[1A\u{1b}[J"
        // The kernel hands a terminal's output over piece by piece.
        var text: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 4096)
        var ready = pollfd(fd: primary, events: Int16(POLLIN), revents: 0)
        while text.count < expected.utf8.count, poll(&ready, 1, 10_000) == 1 {
            let count = read(primary, &bytes, bytes.count)
            if count <= 0 { break }
            text += bytes.prefix(count)
        }
        #expect(String(decoding: text, as: UTF8.self) == expected)
    }
}
