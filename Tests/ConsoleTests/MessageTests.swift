import Console
import Testing

/// What stands between a file's contents and a person's terminal.
@Suite struct MessageTests {
    @Test func controlCharactersAreEscaped() {
        let hostile = "a\u{1b}]0;x\u{7}\0\r\u{8}\u{7f}\u{9b}2J\u{202e}b"
        #expect(hostile.printable == #"a\x1b]0;x\x07\x00\x0d\x08\x7f\x9b2J\u202eb"#)
        #expect("Grüße,\t世界\n👩‍👩‍👧".printable == "Grüße,\t世界\n👩‍👩‍👧")
        let error = UserError(.data, "tensor \u{1b}[2J is missing", hint: "the file has \u{7}")
        #expect(error.description == #"error: tensor \x1b[2J is missing"# + "\n" + #"hint: the file has \x07"#)
    }

    @Test func longLinesAreCut() {
        let error = UserError(.data, "tensor \(String(repeating: "x", count: 1_000_000)) is missing\nsecond line")
        #expect(error.description.utf8.count < 2000)
        #expect(
            error.description.hasPrefix("error: tensor xxx") && error.description.hasSuffix("x is missing\nsecond line")
        )
    }

    /// A table of distances between names of millions of letters would take gigabytes.
    @Test func namesOfAnyLengthAreCompared() {
        let long = String(repeating: "model.layers.", count: 600_000)
        let started = StatusLine.now()
        #expect(closestMatch(to: long, in: [long + "x", "lm_head.weight"]) == nil)
        #expect(closestMatch(to: "lm_head.wieght", in: [long, "lm_head.weight"]) == "lm_head.weight")
        #expect(StatusLine.now() - started < 1)
    }
}
