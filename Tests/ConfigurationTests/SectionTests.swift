import Configuration
import Console
import Testing

private enum Kind: String, CaseIterable, ConfigurationValue { case plain, fancy }

private struct Inner: ConfigurationSection, Equatable {
    var lr = 2e-3
    init() {}
    static let fields: [Field<Inner>] = [.init("lr", \.lr, "learning rate", .nonNegative)]
}

private struct Outer: ConfigurationSection, Equatable {
    var width = 0
    var lr = 1e-8
    var betas = [0.9, 0.95]
    var kind = Kind.plain
    var isOn = true
    var path = "runs/a b"
    var limit: Int?
    var inner: Inner? = Inner()
    init() {}

    static let fields: [Field<Outer>] = [
        .required("width", \.width, "width of the thing", .positive),
        .init("lr", \.lr, "learning rate", .nonNegative),
        .init("betas", \.betas, "decay rates", .each(.range(0..<1), count: 2)),
        .init("kind", \.kind, "which one"),
        .init("is_on", \.isOn, "whether it runs"),
        .init("path", \.path, "where", .path),
        .optional("limit", \.limit, "at most so many", .positive),
        .optionalSection("inner", \.inner, "what is inside"),
    ]

    func validate() throws {
        if let limit, limit < width {
            throw FieldError("limit", "\(limit) is less than width, \(width)", hint: "raise it")
        }
    }
}

@Suite("Configuration sections")
struct SectionTests {
    private func decoded(_ yaml: String) throws -> Outer {
        try decode(Outer.self, from: ConfigurationNode(yaml: yaml, file: "a.cfg"), at: "outer")
    }

    @Test("Values are decoded and the rest keeps its defaults")
    func decodes() throws {
        let section = try decoded(
            "width: 5.0e9\nbetas: [0, .5]\nkind: fancy\nis_on: false\ninner: {lr: 1}\nlimit: 6_000_000_000")
        var expected = Outer()
        expected.width = 5_000_000_000
        expected.betas = [0, 0.5]
        expected.kind = .fancy
        expected.isOn = false
        expected.inner?.lr = 1
        expected.limit = 6_000_000_000
        #expect(section == expected)
        #expect(try decoded("width: 1\ninner:\nlimit: ~\n").inner == Inner())
    }

    @Test(
        "A bad value is refused with file, line, value and hint",
        arguments: [
            ("width: 1\n\nlrr: 2", "a.cfg:3: unknown key `outer.lrr`", "did you mean `lr`?"),
            ("width: 1\nzzz: 2", "a.cfg:2: unknown key `outer.zzz`", "known here: width, lr, betas"),
            ("width: 1\ninner: {rl: 2}", "a.cfg:2: unknown key `outer.inner.rl`", "did you mean `lr`?"),
            ("lr: 1", "a.cfg: outer.width is missing", "it is the width of the thing"),
            ("width: big", "a.cfg:1: outer.width: big is not a whole number", nil),
            ("width: 1.5", "a.cfg:1: outer.width: 1.5 is not a whole number", nil),
            ("width: 1.0e300", "a.cfg:1: outer.width: 1.0e300 is not a whole number", nil),
            ("width: \"8\"", "a.cfg:1: outer.width: \"8\" is not a whole number", nil),
            ("width: 0", "a.cfg:1: outer.width: 0 must be greater than 0", "width: width of the thing"),
            ("width: 020", "a.cfg:1: outer.width: 020 may be read as decimal or octal", "write it without"),
            ("width: 1_", "a.cfg:1: outer.width: 1_ is not a whole number", nil),
            ("width: 1\nlr: 00.5", "a.cfg:2: outer.lr: 00.5 may be read as decimal or octal", "write it without"),
            ("width: 1\nlr: 1.0e300", "a.cfg:2: outer.lr: 1.0e300 is outside the range of a float32", "lr: learning"),
            ("width: 1\nlr: 1e-300", "a.cfg:2: outer.lr: 1e-300 is outside the range of a float32", "lr: learning"),
            ("width: 1\npath: \"a\\0b\"", "a.cfg:2: outer.path: ", "path: where; the default is \"runs/a b\""),
            ("width:", "a.cfg:1: outer.width: has no value", "give a whole number"),
            ("width: 1\nlr: .nan", "a.cfg:2: outer.lr: .nan is not a number", "write it as"),
            ("width: 1\nlr: nan", "a.cfg:2: outer.lr: nan is not a number", "write it as"),
            ("width: 1\nlr: inf", "a.cfg:2: outer.lr: inf is not a number", "write it as"),
            ("width: 1\nlr: 1e999", "a.cfg:2: outer.lr: 1e999 is not a number", "write it as"),
            (
                "width: 1\nlr: -0.5", "a.cfg:2: outer.lr: -0.5 must be 0 or greater",
                "lr: learning rate; the default is 1.0e-08"
            ),
            ("width: 1\nlr: [1]", "a.cfg:2: outer.lr: [1] is not a number", "write it as"),
            ("width: 1\nbetas: 0.9", "a.cfg:2: outer.betas: 0.9 is not a list", "write it as [a, b]"),
            ("width: 1\nbetas: [0.9, 1.0]", "a.cfg:2: outer.betas: [0.9, 1.0] must be a list of 2 numbers, each", nil),
            ("width: 1\nbetas: [0.9]", "a.cfg:2: outer.betas: [0.9] must be a list of 2 numbers, each", nil),
            ("width: 1\nbetas: [0.9, x]", "a.cfg:2: outer.betas: x is not a number", "write it as"),
            ("width: 1\nkind: fanzy", "a.cfg:2: outer.kind: fanzy is not one of plain, fancy", "did you mean `fancy`?"),
            (
                "width: 1\nis_on: yes", "a.cfg:2: outer.is_on: yes is not true or false",
                "is_on: whether it runs; the default is true"
            ),
            ("width: 1\npath: \"\"", "a.cfg:2: outer.path: \"\" must be not empty", nil),
            ("width: 1\ninner: 3", "a.cfg:2: outer.inner: 3 is not a section", "write `key: value` lines below"),
            ("width: 9\nlimit: 3", "a.cfg:2: outer.limit: 3 is less than width, 9", "raise it"),
        ] as [(String, String, String?)])
    func refused(yaml: String, message: String, hint: String?) throws {
        let error = #expect(throws: UserError.self) { try decoded(yaml) }
        #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
        #expect(hint == nil || error?.hint?.hasPrefix(hint ?? "") == true, "\(error?.hint ?? "no hint")")
        #expect(error?.kind.rawValue == 64)
    }

    @Test("A section is printed so that reading it back gives the same section")
    func roundTrip() throws {
        var section = Outer()
        section.width = 7
        section.lr = 0.1 + 0.2
        for path in ["plain/path.bin", "with: colon # and \"quotes\"\n", "null", "true", "12", "-x", "é ü", "~", "a,b"]
        {
            section.path = path
            section.limit = path.count > 4 ? 9 : nil
            #expect(try decoded(section.yaml()) == section, "\(section.yaml())")
        }
        #expect(section.yaml().contains("lr: 0.30000000000000004"))
        #expect(section.yaml(indent: 2).contains("\n  inner:  # what is inside\n    lr: 0.002"))
        #expect(Outer().yaml().contains("lr: 1.0e-08"))
    }

    @Test("Values come flat, under dotted keys, and the documentation lists every key with its default")
    func texts() {
        #expect(Outer().values.last?.key == "inner.lr")
        #expect(Outer().values.last?.value == "0.002")
        let lines = Outer.documentation.split(separator: "\n")
        #expect(lines[0] == "width     required     width of the thing (a whole number, greater than 0)")
        #expect(
            lines[2] == "betas     [0.9, 0.95]  decay rates (a list of 2 numbers, each at least 0.0 and below 1.0)")
        #expect(lines.last == "inner.lr  0.002        learning rate (a number, 0 or greater)")
    }

    @Test("A user error prints as error and hint")
    func description() {
        #expect(UserError(.data, "a", hint: "b").description == "error: a\nhint: b")
        #expect(UserError(.data, "a").description == "error: a")
    }
}
