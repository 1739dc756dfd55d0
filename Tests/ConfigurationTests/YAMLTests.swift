import Configuration
import Console
import Foundation
import Testing

@Suite("Configuration files")
struct YAMLTests {
    @Test("Every node knows its file and line")
    func places() throws {
        let root = try ConfigurationNode(
            yaml: "model:\n  hidden_size: 8\noptimizer: {lr: 1.0e-3,\n  eps: 0}\n", file: "a.cfg")
        #expect(root["model"]?["hidden_size"]?.source == "a.cfg:2")
        #expect(root["optimizer"]?["lr"]?.text == "1.0e-3")
        #expect(root["optimizer"]?["eps"]?.source == "a.cfg:4")
    }

    @Test("An empty file, or one of comments, is an empty map", arguments: ["", "# nothing\n", "\n\n", "---\n"])
    func empty(text: String) throws {
        #expect(try ConfigurationNode(yaml: text, file: "a.cfg").entries?.isEmpty == true)
    }

    @Test(
        "A file that is no plain map is refused with its line",
        arguments: [
            ("a: 1\nb:\n\tc: 2\n", "a.cfg:3: not valid YAML: found character that cannot start any token"),
            ("model:\n  lr: 1\n  eps: 2\n  lr: 3\n", "a.cfg:4: `lr` is given twice in the same section"),
            ("model: {lr: 1, lr: 3}\n", "a.cfg:1: `lr` is given twice in the same section"),
            ("a: 1\nb: 2\na: 3\n", "a.cfg:3: `a` is given twice in the same section"),
            ("\n- 1\n- 2\n", "a.cfg:2: a configuration is a map of sections, not [1, 2]"),
            ("hello", "a.cfg:1: a configuration is a map of sections, not hello"),
            ("a: [1, 2\n", "a.cfg:2: not valid YAML: did not find expected ',' or ']'"),
            ("a: 1\n---\nb: 2\n", "a.cfg:2: not valid YAML: but found another document"),
            (
                "a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
                    + "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d]\n",
                "a.cfg:1: too many values, or aliases (*) of aliases"
            ),
            ("a: 1\nb: *x\n", "a.cfg:2: not valid YAML: found undefined alias"),
            ("a: 1\nb: \u{0}\n", "a.cfg:2: not text: control characters are not allowed"),
            ("a: 1\n[b]: 2\n", "a.cfg:2: a key is a word, not a list or map"),
        ])
    func refused(text: String, message: String) throws {
        let error = #expect(throws: UserError.self) { try ConfigurationNode(yaml: text, file: "a.cfg") }
        #expect(error?.message.hasPrefix(message) == true, "\(error?.message ?? "")")
        #expect(error?.kind == .usage)
    }

    @Test("A file nested a million deep is refused, not a crash")
    func deep() {
        #expect(throws: UserError.self) {
            try ConfigurationNode(yaml: String(repeating: "[", count: 500_000), file: "a.cfg")
        }
    }

    @Test("Bytes that are not UTF-8 are refused with their line")
    func notUTF8() throws {
        let path = NSTemporaryDirectory() + "notutf8-\(UUID()).cfg"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data([0x61, 0x3a, 0x20, 0x31, 0x0a, 0x62, 0x3a, 0x20, 0xff, 0x0a]).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: UserError.self) { try ConfigurationNode(contentsOfFile: path) }
        #expect(error?.message == "\(path):2: not UTF-8 text")
    }

    @Test("A byte order mark is no part of the text")
    func byteOrderMark() throws {
        let path = NSTemporaryDirectory() + "mark-\(UUID()).cfg"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data([0xEF, 0xBB, 0xBF] + Array("a: 1\n".utf8)).write(to: URL(fileURLWithPath: path))
        #expect(try ConfigurationNode(contentsOfFile: path)["a"]?.text == "1")
    }

    /// Opening a pipe waits for its writer; there is none.
    @Test("A pipe is refused at once")
    func pipe() throws {
        let path = NSTemporaryDirectory() + "pipe-\(UUID()).cfg"
        #expect(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let error = #expect(throws: UserError.self) { try ConfigurationNode(contentsOfFile: path) }
        #expect(error?.message == "cannot open \(path): it is a pipe, a regular file is expected")
    }

    @Test("A file that can't be read says why")
    func unreadable() throws {
        let missing = #expect(throws: UserError.self) { try ConfigurationNode(contentsOfFile: "/nowhere/a.cfg") }
        #expect(missing?.message == "cannot open /nowhere/a.cfg: No such file or directory")
        #expect(missing?.kind == .inputOutput)
        let folder = #expect(throws: UserError.self) { try ConfigurationNode(contentsOfFile: "/tmp") }
        #expect(
            folder?.message == "cannot open /tmp: Is a directory")
        let endless = #expect(throws: UserError.self) { try ConfigurationNode(contentsOfFile: "/dev/zero") }
        #expect(endless?.message == "cannot open /dev/zero: it is a device, a regular file is expected")
    }

    @Test("An overlay joins maps key by key and replaces the rest")
    func overlay() throws {
        let lower = try ConfigurationNode(yaml: "a: {x: 1, y: [1, 2]}\nb: 2\n", file: "lower.cfg")
        let upper = try ConfigurationNode(yaml: "a: {y: [3], z: 4}\nc: 5\n", file: "upper.cfg")
        let both = lower.overlaid(by: upper)
        #expect(both.summary == "a section with a, b, c")
        #expect(both["a"]?["x"]?.source == "lower.cfg:1")
        #expect(both["a"]?["y"]?.summary == "[3]")
        #expect(both["a"]?["z"]?.source == "upper.cfg:1")
    }

    @Test("An assignment of the command line is an overlay")
    func assignment() throws {
        let node = try ConfigurationNode(assignment: "optimizer.adam.betas=[0.9, 0.98]")
        let value = node["optimizer"]?["adam"]?["betas"]
        #expect(value?.summary == "[0.9, 0.98]")
        #expect(value?.source == "--set optimizer.adam.betas")
        #expect(try ConfigurationNode(assignment: "output.run_dir=a=b")["output"]?["run_dir"]?.text == "a=b")
    }

    @Test("An assignment of another form is refused", arguments: ["optimizer.lr", "=1", "a..b=1", ".a=1"])
    func badAssignment(text: String) throws {
        let error = #expect(throws: UserError.self) { try ConfigurationNode(assignment: text) }
        #expect(error?.message == "--set \(text): not of the form section.key=value")
    }

    @Test(
        "The nearest name is found, a far one is not",
        arguments: [
            ("hiden_size", "hidden_size"), ("Hidden-Size", "hidden_size"), ("betsa", "betas"), ("lr_", "lr"),
            ("momentum", nil), ("x", nil),
        ] as [(String, String?)])
    func nearest(word: String, match: String?) {
        #expect(closestMatch(to: word, in: ["hidden_size", "betas", "lr"]) == match)
    }
}
