import Foundation
import TestSupport
import Testing

/// scripts/download_c4.sh against a server of our own.
@Suite struct DownloadScriptTests {
    static let trainName = "c4-train.00000-of-01024.json.gz"
    static let validationName = "c4-validation.00000-of-00008.json.gz"
    let train: Data
    let validation: Data

    init() throws {
        (train, validation) = try withTemporaryFolder { folder in
            func compressed(_ text: String) throws -> Data {
                let file = folder.appending(path: "text")
                try Data(text.utf8).write(to: file)
                #expect(try run("gzip", ["--force", "--no-name", file.path]).status == 0)
                return try Data(contentsOf: folder.appending(path: "text.gz"))
            }
            let lines = (0..<3000).map { "{\"text\":\"Document \($0) says \($0 &* 2_654_435_761).\"}\n" }
            return (try compressed(lines.joined()), try compressed("{\"text\":\"Held out.\"}\n"))
        }
    }

    /// Downloads one train and one validation file, as `changes` to the server's files have it, into a
    /// folder that `prepare` may fill beforehand.
    private func download(
        _ arguments: [String] = [], prepare: (URL) throws -> Void = { _ in },
        changes: (inout LocalServer.File) -> Void = { _ in },
        check: (FinishedCommand, _ folder: URL, _ requests: [String]) throws -> Void
    ) throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            var trainFile = LocalServer.File(body: train)
            changes(&trainFile)
            let server = try LocalServer([
                "/en/\(Self.trainName)": trainFile, "/en/\(Self.validationName)": .init(body: validation),
            ])
            defer { server.stop() }
            let command = try run(
                "scripts/download_c4.sh", ["--output", folder.path] + arguments,
                environment: ["C4_BASE_URL": server.address + "/en/"])
            try check(command, folder, server.requests)
        }
    }

    private func names(in folder: URL) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    private func expectComplete(_ command: FinishedCommand, _ folder: URL) throws {
        #expect(command.status == 0, "\(command.errorOutput)")
        let files = try names(in: folder)
        #expect(files == [Self.trainName, Self.validationName])
        #expect(try Data(contentsOf: folder.appending(path: Self.trainName)) == train)
        #expect(try Data(contentsOf: folder.appending(path: Self.validationName)) == validation)
    }

    @Test func downloadsWhatIsAskedFor() throws {
        try download { command, folder, requests in
            try expectComplete(command, folder)
            #expect(requests.count { $0.hasPrefix("GET") } == 2)
            #expect(command.output.contains("2 files lie in \(folder.path)"))
        }
        try download(["--train", "0"]) { command, folder, _ in
            #expect(command.status == 0)
            let files = try names(in: folder)
            #expect(files == [Self.validationName])
        }
    }

    @Test func aFinishedFileIsNotFetchedAgain() throws {
        try download(prepare: { try train.write(to: $0.appending(path: Self.trainName)) }) {
            command, folder, requests in
            try expectComplete(command, folder)
            #expect(!requests.contains { $0.hasPrefix("GET /en/\(Self.trainName)") })
        }
    }

    @Test func aBrokenConnectionIsTakenUpWhereItBroke() throws {
        try download(changes: { $0.cuts = [1000, 500] }) { command, folder, requests in
            try expectComplete(command, folder)
            let gets = requests.filter { $0.hasPrefix("GET /en/\(Self.trainName)") }
            #expect(gets.map { $0.split(separator: " ").dropFirst(2).joined() } == ["", "bytes=1000-", "bytes=1500-"])
        }
    }

    @Test func anInterruptedRunIsContinued() throws {
        try download(prepare: { try train.prefix(777).write(to: $0.appending(path: Self.trainName + ".part")) }) {
            command, folder, requests in
            try expectComplete(command, folder)
            #expect(requests.contains("GET /en/\(Self.trainName) bytes=777-"))
        }
    }

    @Test func aServerWithoutRangesIsReadFromTheStart() throws {
        try download(
            prepare: { try train.prefix(777).write(to: $0.appending(path: Self.trainName + ".part")) },
            changes: { $0.understandsRanges = false }
        ) { command, folder, _ in try expectComplete(command, folder) }
    }

    @Test func anotherSizeThanAnnouncedIsRefused() throws {
        let wholeSize = train.count
        try download(changes: { ($0.body, $0.announcedSize) = ($0.body.prefix(900), wholeSize) }) {
            command, folder, _ in
            #expect(command.status == 65)
            #expect(command.errorOutput.contains("came with 900 bytes where the server had announced \(wholeSize)"))
            let files = try names(in: folder)
            #expect(files.isEmpty)
        }
    }

    @Test func aFileOfAnotherSizeInTheFolderIsLeftAlone() throws {
        try download(prepare: { try Data("mine".utf8).write(to: $0.appending(path: Self.trainName)) }) {
            command, folder, _ in
            #expect(command.status == 65)
            #expect(command.errorOutput.contains("has 4 bytes, the server's has \(train.count)"))
            let file = try Data(contentsOf: folder.appending(path: Self.trainName))
            #expect(file == Data("mine".utf8))
        }
    }

    @Test func damagedContentIsRefused() throws {
        try download(changes: { $0.body[$0.body.count / 2] ^= 0xff }) { command, folder, _ in
            #expect(command.status == 65)
            #expect(command.errorOutput.contains("\(Self.trainName) is not an intact gzip file"))
            let files = try names(in: folder)
            #expect(files.isEmpty)
        }
    }

    @Test func aMissingFileIsReportedWithItsAddress() throws {
        try download(["--train", "2"]) { command, folder, _ in
            #expect(command.status == 74)
            #expect(command.errorOutput.contains("the server answers 404 for http://127.0.0.1"))
            #expect(command.errorOutput.contains("c4-train.00001-of-01024.json.gz"))
            let files = try names(in: folder)
            #expect(files == [Self.trainName])
        }
    }

    @Test(arguments: [
        ["--train", "1025"], ["--validation", "9"], ["--train", "all"], ["--train"], ["--trian", "1"],
    ])
    func impossibleOptionsAreRefused(_ arguments: [String]) throws {
        let command = try run("scripts/download_c4.sh", arguments)
        #expect(command.status == 64)
        #expect(command.errorOutput.hasPrefix("error: "))
        #expect(command.errorOutput.contains("hint: "))
    }
}
