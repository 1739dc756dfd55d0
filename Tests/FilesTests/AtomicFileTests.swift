import Console
import Files
import Foundation
import Testing

/// A new folder for one test, removed afterwards.
private func withFolder(_ body: (String) throws -> Void) throws {
    let folder = NSTemporaryDirectory() + "cosmos-atomic-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
}

private func names(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
}

private func content(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

@Suite struct AtomicFileTests {
    @Test func aFileAppearsOnlyWhenCommitted() throws {
        try withFolder { folder in
            let path = folder + "/a.txt"
            try AtomicFile.write("old", to: path)
            let file = try AtomicFile(path: path)
            try file.write("nex")
            try file.write(" text")
            #expect(try content(path) == "old")
            #expect(file.byteCount == 8)
            try Array("w".utf8).withUnsafeBytes { try file.overwrite(at: 2, with: $0) }
            try file.commit()
            #expect(try content(path) == "new text")
            #expect(try names(in: folder) == ["a.txt"])
        }
    }

    @Test func aFileThatFailsLeavesTheOldOneAndNoTemporary() throws {
        struct Failure: Error {}
        func writeHalf(_ path: String) throws {
            let file = try AtomicFile(path: path)
            try file.write("half")
            throw Failure()
        }
        try withFolder { folder in
            try AtomicFile.write("old", to: folder + "/a")
            #expect(throws: Failure.self) { try writeHalf(folder + "/a") }
            #expect(try content(folder + "/a") == "old")
            #expect(try names(in: folder) == ["a"])
        }
    }

    @Test func aFolderAppearsWholeAndReplacesTheOldOne() throws {
        struct Failure: Error {}
        try withFolder { folder in
            let path = folder + "/step"
            for text in ["one", "two"] {
                try AtomicFile.writeFolder(path) { temporary in
                    try AtomicFile.write(text, to: temporary + "/file")
                    if text == "one" { #expect(!FileManager.default.fileExists(atPath: path)) }
                }
                #expect(try content(path + "/file") == text)
            }
            #expect(throws: Failure.self) {
                try AtomicFile.writeFolder(path) { temporary in
                    try AtomicFile.write("three", to: temporary + "/file")
                    throw Failure()
                }
            }
            // What another process made while it was written stays.
            let taken = #expect(throws: UserError.self) {
                try AtomicFile.writeFolder(folder + "/new", mustBeNew: true) { temporary in
                    try AtomicFile.write("four", to: temporary + "/file")
                    try AtomicFile.writeFolder(folder + "/new") { try AtomicFile.write("five", to: $0 + "/file") }
                }
            }
            #expect(taken?.hint == "something of that name is already there: choose another name")
            #expect(try content(folder + "/new/file") == "five")
            try AtomicFile.remove(folder + "/new")
            #expect(try content(path + "/file") == "two")
            #expect(try names(in: folder) == ["step"])
            try AtomicFile.remove(path)
            #expect(try names(in: folder) == [])
        }
    }

    @Test func leftoversOfAKilledProcessGoAndAReplacedFolderComesBack() throws {
        try withFolder { folder in
            let others = [
                ".a.tmp-draft", ".a.tmp-1", ".a.tmp-1-1.txt", ".thesis.tmp-1-1", ".thesis.replaced-1-1", "a.tmp-1-1",
                ".hidden",
            ]
            let ours = [".a.tmp-1-1", ".step.replaced-1-2", ".done.replaced-1-3", "done"]
            for name in ours + others {
                try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: false)
            }
            AtomicFile.removeLeftovers(in: folder) { ["a", "step", "done"].contains($0) }
            #expect(try names(in: folder) == (others + ["done", "step"]).sorted())
        }
    }

    @Test func aFullDiskIsNamedWithAPathAndARemedy() throws {
        let full = open("/dev/full", O_WRONLY)
        try #require(full >= 0)
        defer { close(full) }
        let error = #expect(throws: UserError.self) {
            try Array("x".utf8).withUnsafeBytes {
                try AtomicFile.write($0, to: full, of: "runs/a/model.safetensors", at: nil)
            }
        }
        #expect(error?.kind == .inputOutput)
        #expect(error?.message == "cannot write runs/a/model.safetensors: No space left on device")
        #expect(error?.hint?.contains("df -h runs/a") == true)
    }

    /// A pipe takes as much as it has room for, and then nothing.
    @Test func aWriteThatEndsHalfWayIsAnError() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0 && fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0)
        defer { for end in ends { close(end) } }
        let error = #expect(throws: UserError.self) {
            try [UInt8](repeating: 1, count: 1 << 22).withUnsafeBytes {
                try AtomicFile.write($0, to: ends[1], of: "file", at: nil)
            }
        }
        #expect(error?.message == "cannot write file: Resource temporarily unavailable")
    }

    @Test func aMissingFolderIsNamed() throws {
        try withFolder { folder in
            let error = #expect(throws: UserError.self) { try AtomicFile.write("x", to: folder + "/no/file") }
            #expect(error?.message == "cannot create \(folder)/no/file: No such file or directory")
            #expect(error?.hint?.contains("\(folder)/no does not exist") == true)
        }
    }

    @Test(.enabled(if: getuid() != 0, "the superuser may write anywhere"))
    func aFolderWithoutPermissionIsNamed() throws {
        try withFolder { folder in
            chmod(folder, 0o500)
            defer { chmod(folder, 0o700) }
            let error = #expect(throws: UserError.self) { try AtomicFile.write("x", to: folder + "/file") }
            #expect(error?.message == "cannot create \(folder)/file: Permission denied")
        }
    }

    /// A rename would put a file in its place.
    @Test func pipesAndDevicesAreNotReplaced() throws {
        try withFolder { folder in
            let pipe = folder + "/pipe"
            #expect(mkfifo(pipe, 0o600) == 0)
            let error = #expect(throws: UserError.self) { try AtomicFile.write("text", to: pipe) }
            #expect(error?.message == "cannot create \(pipe): it is a device or a pipe")
        }
    }
}
