import Foundation
import TestSupport
import Testing

/// The scripts in scripts/corpus, and split_text.pl: text to documents for training and validation.
@Suite struct CorpusScriptTests {
    struct Document: Decodable {
        let text: String
        let timestamp: String?
        let url: String?
    }

    private static func documents(_ path: String) throws -> [Document] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
            try JSONDecoder().decode(Document.self, from: Data($0.utf8))
        }
    }

    /// The documents of both files, made from stanzas as the package archive has them.
    private func convert(_ stanzas: String) throws -> (train: [Document], validation: [Document]) {
        try withTemporaryFolder { folder in
            let files = ["stanzas", "train", "validation"].map { folder.appending(path: $0).path }
            try Data(stanzas.utf8).write(to: URL(filePath: files[0]))
            let script =
                "perl scripts/corpus/descriptions.pl < \"$1\" | perl scripts/corpus/split.pl \"$2\" \"$3\""
            let command = try run("bash", ["-c", script, "bash"] + files)
            #expect(command.status == 0, "\(command.errorOutput)")
            return (try Self.documents(files[1]), try Self.documents(files[2]))
        }
    }

    private func stanza(_ package: String, _ title: String, _ lines: [String]) -> String {
        (["Package: \(package)", "Description-md5: 0", "Description-en: \(title)"] + lines.map { " " + $0 })
            .joined(separator: "\n") + "\n\n"
    }

    @Test func unfoldsParagraphsAndLists() throws {
        let (train, validation) = try convert(
            "Pages: https://packages.debian.org/bookworm\n\n"
                + stanza(
                    "two-ping", "tool to \"ping\" both\\ways",
                    [
                        "It sends packets in both directions and", "compares what arrived – exactly.", ".", "Features:",
                        " * one item that goes", "   on for two lines", " * another", ".", "verbatim:",
                        "  first = second",
                        "  third = fourth",
                    ]))
        let document = try #require((train + validation).first)
        #expect(
            document.text == """
                tool to "ping" both\\ways
                It sends packets in both directions and compares what arrived – exactly.
                Features:
                - one item that goes on for two lines
                - another
                verbatim:
                first = second
                third = fourth
                """)
        #expect(document.url == "https://packages.debian.org/bookworm/two-ping")
        #expect(document.timestamp == "1970-01-01T00:00:00Z")
    }

    /// Families of packages with a paragraph in common, told apart by a name, and with sentences of their own.
    private var families: String {
        let words = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "heron", "inlet", "jetty"]
        return (0..<900).map { number in
            let own = (0..<14).map {
                words[(number &* 7919 &+ $0 &* ($0 &+ number % 89)) % 10]
                    + String(UnicodeScalar(UInt8(97 + number / 26 % 26)))
            }
            let name = "lib\(words[number % 10])\(number)"
            return stanza(
                name, "library of \(own.prefix(4).joined(separator: " "))",
                [
                    "The \(words[number / 100]) family of libraries reads and writes files of all kinds, in parallel.",
                    ".",
                    own.joined(separator: " "), ".",
                    "This package contains the headers of \(name) and what is needed for development.",
                ])
        }.joined()
    }

    @Test func noParagraphStandsTwiceAndNothingLeaksIntoValidation() throws {
        let (train, validation) = try convert(families)
        #expect(train.count > 100 && validation.count > 3)
        let paragraphs = (train + validation).flatMap { $0.text.split(separator: "\n").dropFirst() }
        #expect(Set(paragraphs).count == paragraphs.count)
        #expect(paragraphs.count { $0.contains("This package contains the headers") } <= 1)

        func runs(_ documents: [Document]) -> Set<[Substring]> {
            Set(
                documents.flatMap { document in
                    let words = document.text.lowercased().split { !$0.isLetter && !$0.isNumber }
                    return words.count < 8 ? [] : (0...words.count - 8).map { Array(words[$0..<$0 + 8]) }
                })
        }
        #expect(runs(train).isDisjoint(with: runs(validation)))
    }

    @Test func theSplitIsFixed() throws {
        let (first, second) = (try convert(families), try convert(families))
        #expect(first.train.map(\.text) == second.train.map(\.text))
        // A document stays on its side when others are added.
        let more = try convert(
            families + stanza("newcomer", "a newcomer", [String(repeating: "so many different words ", count: 9)]))
        #expect(Set(more.validation.map(\.url)).isSuperset(of: first.validation.map(\.url)))
    }

    @Test func pagesKeepTheirProseAlone() throws {
        let prose = """
            <p>The <b>pool</b> shares out the work that is to be done, and each of its workers takes what it can of it
            &mdash; so that none has to wait for the others when there is still something to do.</p>
            <ul><li>It is not used by more than one caller at a time.</li></ul>
            """
        let page = """
            <html><head><title>x</title></head><body class="nav"><nav>Home of the page</nav><h1>Pools<a class="headerlink">¶</a></h1>
            \(prose)<pre>let pool = Pool()</pre><div class="sphinxsidebar"><div>See the other pages</div></div>
            \(String(repeating: "<p>There is more of the same in this book, and it is as good.</p>", count: 5))</body></html>
            """
        let sentence = "<p>Die Aufgaben werden verteilt, und jeder der Arbeiter nimmt sich davon, was er schafft.</p>"
        let german = "<html><body>\(String(repeating: sentence, count: 8))</body></html>"
        try withTemporaryFolder { folder in
            try Data(page.utf8).write(to: folder.appending(path: "a.html"))
            try Data(german.utf8).write(to: folder.appending(path: "b.html"))
            let command = try run("perl", ["scripts/corpus/pages.pl", "debian:x", folder.path, "a.html", "b.html"])
            #expect(command.status == 0, "\(command.errorOutput)")
            let lines = command.output.split(separator: "\n")
            #expect(lines.count == 1)
            let fields = try #require(lines.first).split(separator: "\t", omittingEmptySubsequences: false)
            #expect(fields[1] == "debian:x/a.html")
            #expect(
                fields[2].hasPrefix(
                    "Pools\\nThe pool shares out the work that is to be done, and each of its workers takes what it can of "
                        + "it — so that none has to wait for the others when there is still something to do.\\n"
                        + "- It is not used by more than one caller at a time.\\nThere is more"))
            #expect(
                !fields[2].contains("Home") && !fields[2].contains("let pool") && !fields[2].contains("other pages"))
        }
    }

    @Test func dictionariesBecomeAnEntryEach() throws {
        let about = "00-database-info\n   About it.\n"
        let entry = """
            Pool \\Pool\\, n. [AS. p[=o]l]
               1. A small and rather deep collection of (usually) fresh
                  water, as one supplied by a {spring}. [1913 Webster]

               2. A body of workers
                  who share what is to be done.

            """
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        func number(_ value: Int) -> String {
            value < 64 ? String(digits[value]) : number(value / 64) + String(digits[value % 64])
        }
        let place = "\(number(about.utf8.count))\t\(number(entry.utf8.count))\n"
        try withTemporaryFolder { folder in
            let name = folder.appending(path: "d").path
            try Data((about + entry).utf8).write(to: URL(filePath: name + ".dict"))
            _ = try run("gzip", ["-S", ".dz", name + ".dict"])
            let index = "00-database-info\tA\t\(number(about.utf8.count))\nPool\t\(place)pools\t\(place)"
            try Data(index.utf8).write(to: URL(filePath: name + ".index"))
            let command = try run("perl", ["scripts/corpus/dictionary.pl", "debian:d", name])
            #expect(
                command.output
                    == "\tdebian:d/Pool\tPool n. [AS. p[=o]l]\\n1. A small and rather deep collection of (usually) "
                    + "fresh water, as one supplied by a spring.\\n2. A body of workers who share what is to be done.\n",
                "\(command.errorOutput)")
        }
    }

    /// What split_text.pl makes of files with these contents.
    private func split(_ files: [(name: String, content: Data)]) throws -> (FinishedCommand, [Document], [Document]) {
        try withTemporaryFolder { folder in
            for file in files { try file.content.write(to: folder.appending(path: file.name)) }
            let outputs = ["T", "V"].map { folder.appending(path: $0).path }
            let inputs = files.map { folder.appending(path: $0.name).path }
            let command = try run("perl", ["scripts/split_text.pl"] + outputs + inputs)
            guard command.status == 0 else { return (command, [], []) }
            return (command, try Self.documents(outputs[0]), try Self.documents(outputs[1]))
        }
    }

    @Test func ofManyDocumentsSomeAreHeldOutAndEqualOnesStayTogether() throws {
        let texts = (0..<300).map { "Document \($0 % 150): \"quoted\", a \\, ünïcode,\nand \($0 % 150 * 7919) more." }
        let lines = try texts.map { String(decoding: try JSONEncoder().encode(["text": $0]), as: UTF8.self) + "\n" }
        let (_, train, validation) = try split([("a.jsonl", Data(lines.joined().utf8))])
        #expect((train + validation).map(\.text).sorted() == texts.sorted())
        #expect((8...40).contains(validation.count))
        #expect(Set(train.map(\.text)).isDisjoint(with: validation.map(\.text)))
    }

    @Test func ofFewDocumentsTheEndsAreHeldOut() throws {
        let book = (0..<2000).map { "Sentence \($0) of \"the book\".\n" }.joined()
        let line = String(decoding: try JSONEncoder().encode(["text": book]), as: UTF8.self) + "\n"
        for file in [("book.txt", Data(book.utf8)), ("book.json", Data(line.utf8))] {
            let (_, train, validation) = try split([file])
            #expect(train.count == 1 && validation.count == 1)
            #expect(train.map(\.text).joined() + " " + validation.map(\.text).joined() == book)
            #expect(abs(Double(validation[0].text.count) / Double(book.count) - 0.05) < 0.01)
        }
    }

    @Test(arguments: [
        ("latin.txt", Data([0x63, 0x61, 0x66, 0xe9]), "is not UTF-8 text"), ("empty.txt", Data(), "no text"),
        ("broken.txt.gz", Data([0x1f, 0x8b, 8, 0, 1]), "cannot unpack"), ("word.txt", Data("word".utf8), "too short"),
    ])
    func textThatCannotBeDividedIsAnError(name: String, content: Data, message: String) throws {
        let (command, _, _) = try split([(name, content)])
        #expect(command.status == 65)
        #expect(command.errorOutput.contains(message), "\(command.errorOutput)")
    }
}
