import Files
import TestSupport
import Testing

@Suite struct JSONValueTests {
    @Test func everyKindOfValueIsRead() throws {
        let text = #" {"a" : [1, -2.5e3, 0, 1E2, true,false, null], "é\n\u00e9\ud83d\ude00\/": {}, "b":"" } "#
        let value = try JSONValue(json: Array(text.utf8))
        #expect(
            value.a
                == .array([.integer(1), .number(-2500), .integer(0), .number(100), .bool(true), .bool(false), .null]))
        #expect(value["é\né😀/"] == .object([:]))
        #expect(value.b.string == "")
        #expect(try JSONValue(json: Array("9223372036854775808".utf8)) == .number(0x1p63))
    }

    @Test(arguments: [
        (#"{"a": 1, "a": 2}"#, "byte 9: the key \"a\" is there twice"),
        (#"{"a": {"b": 1, "\u0062": 2}}"#, "byte 15: the key \"b\" is there twice"),
        (#"{"a": 1,}"#, "byte 8: `}` where a key is expected"), ("[1, 2,]", "byte 6: `]` where a value is expected"),
        ("[1 2]", "byte 3: `2` where `,` or `]` is expected"), ("[,]", "byte 1: `,` where a value is expected"),
        ("{'a': 1}", "byte 1: `'` where a key is expected"), ("{\"a\" 1}", "byte 5: `1` where `:` is expected"),
        ("// x\n1", "byte 0: `/` where a value is expected"), ("1 // x", "byte 2: `/` where the end is expected"),
        ("NaN", "byte 0: `N` where"), ("Infinity", "byte 0: `I` where"), ("nul", "byte 0: `n` where"),
        ("01", "byte 1: `1` where no further digit"), ("1.", "byte 2: it ends where a digit"),
        (".5", "byte 0: `.` where"),
        ("+1", "byte 0: `+`"), ("1e", "byte 2: it ends where a digit"), ("-", "byte 1: it ends"),
        ("0x1", "byte 1: `x`"),
        ("1e999", "byte 0: 1e999 is too large"), ("", "byte 0: it ends where a value"),
        ("[", "byte 1: it ends where a value"),
        ("\"a", "byte 2: it ends where `\"`"), ("\"a\nb\"", "byte 2: a control character that is not escaped"),
        (#""\x""#, "byte 1: `\\` where an escaped character"), (#""\u12g4""#, "byte 1: `\\` where an escaped"),
        (#""\ud800""#, "byte 1: half of a surrogate pair"), (#""\ud800A""#, "byte 1: half of a"),
        (#""\udc00""#, "byte 1: half of a surrogate pair"), (#""\"#, "byte 1: `\\` where"),
        (#""\u00"#, "byte 1: `\\` where"),
        ("\u{feff}1", "byte 0: `\u{feff}` where a value"), ("1\0", "byte 1: `\0` where the end"),
        (String(repeating: "[", count: 300), "byte 257: more than 256 brackets within each other"),
    ])
    func whatIsNoJSONIsRefused(text: String, problem: String) {
        let error = #expect(throws: JSONError.self) { try JSONValue(json: Array(text.utf8)) }
        #expect(error?.description.hasPrefix(problem) == true, "\(error?.description ?? "")")
    }

    /// As two pieces of a vocabulary may.
    @Test func namesThatOnlyLookAlikeAreTwo() throws {
        let text = "{\"\u{e9}\": 1, \"e\u{301}\": 2}"
        let value = try JSONValue(json: Array(text.utf8))
        #expect(value["\u{e9}"] == .integer(1) && value["e\u{301}"] == .integer(2))
    }

    @Test func bytesThatAreNoTextAreRefused() {
        #expect(throws: JSONError.self) { try JSONValue(json: [0x22, 0xFF, 0x22]) }
    }
}
