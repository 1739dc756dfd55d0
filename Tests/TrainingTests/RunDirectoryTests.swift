import Console
import Foundation
import TestSupport
import Testing
import Training

@Suite struct RunDirectoryTests {
    @Test func aNewRunGetsItsFoldersAndIsThenRefused() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("runs/a")
        do {
            let run = try RunDirectory(path + "/", for: .new)
            #expect(run.checkpoints == path + "/checkpoints")
            #expect(try folder.names("runs/a") == [".lock", "checkpoints"])
        }
        let error = #expect(throws: UserError.self) { try RunDirectory(path, for: .new) }
        #expect(error?.kind == .usage)
        #expect(error?.message == "\(path) already holds a run")
        #expect(error?.hint?.contains("--resume") == true)
        _ = try RunDirectory(path, for: .resume)
    }

    @Test func aFolderWithOtherFilesMayHoldARun() throws {
        let folder = try TemporaryFolder()
        try folder.write("notes".utf8, "README")
        _ = try RunDirectory(folder.path, for: .new)
        #expect(try folder.text("README") == "notes")
    }

    @Test func resumingNothingIsRefusedAndCreatesNothing() throws {
        let folder = try TemporaryFolder()
        let error = #expect(throws: UserError.self) { try RunDirectory(folder.file("a"), for: .resume) }
        #expect(error?.message.contains("no run to resume") == true)
        #expect(try folder.names() == [])
    }

    @Test func replacingSetsTheOldRunAside() throws {
        let folder = try TemporaryFolder()
        for number in 0..<3 {
            let run = try RunDirectory(folder.file("a"), for: .replace)
            #expect(run.replacedRun == (number == 0 ? nil : folder.file("a.old-\(number)")))
            try folder.write("\(number)".utf8, "a/log.csv")
        }
        #expect(try folder.names() == ["a", "a.old-1", "a.old-2"])
        #expect(try folder.text("a.old-2/log.csv") == "1")
    }

    /// The lock belongs to an open file, so a second object is refused as another process is.
    @Test(arguments: [RunDirectory.Purpose.new, .resume, .replace])
    func aRunInUseIsRefused(_ purpose: RunDirectory.Purpose) throws {
        let folder = try TemporaryFolder()
        let run = try RunDirectory(folder.file("a"), for: .new)
        let error = #expect(throws: UserError.self) { try RunDirectory(folder.file("a"), for: purpose) }
        #expect(error?.message == "another process (\(getpid())) is training in \(run.path)")
        #expect(try folder.names() == ["a"])
        withExtendedLifetime(run) {}
    }

    @Test func leftoversOfAKilledProcessAreRemoved() throws {
        let folder = try TemporaryFolder()
        _ = try RunDirectory(folder.file("a"), for: .new)
        for name in [
            "a/.config.resolved.cfg.tmp-9-1", "a/.thesis.tmp-draft", "a/.thesis.tmp-9-1",
            "a/checkpoints/.step-00000005.tmp-9-2", "a/checkpoints/.best.tmp-9-2",
        ] {
            try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: false)
        }
        _ = try RunDirectory(folder.file("a"), for: .resume)
        #expect(try folder.names("a") == [".lock", ".thesis.tmp-9-1", ".thesis.tmp-draft", "checkpoints"])
        #expect(try folder.names("a/checkpoints") == [".best.tmp-9-2"])
    }

    @Test func whatOthersPutIntoAnAbandonedRunStays() throws {
        let folder = try TemporaryFolder()
        for name in ["a", "b"] {
            let run = try RunDirectory(folder.file(name), for: .new)
            try folder.write("settings".utf8, "\(name)/config.resolved.cfg")
            if name == "a" { try folder.write("notes".utf8, "a/notes") }
            run.abandon()
        }
        #expect(try folder.names() == ["a"])
        #expect(try folder.names("a") == ["notes"])

        // Of a folder that was there before, only what is new goes.
        try folder.write("mine".utf8, "a/train.log")
        do {
            let run = try RunDirectory(folder.file("a"), for: .new)
            try folder.write("settings".utf8, "a/config.resolved.cfg")
            run.abandon()
        }
        #expect(try folder.names("a") == [".lock", "notes", "train.log"])

        // A run that was set aside for it returns.
        try folder.write("old".utf8, "a/log.csv")
        try RunDirectory(folder.file("a"), for: .replace).abandon()
        #expect(try folder.names() == ["a"])
        #expect(try folder.text("a/log.csv") == "old")
    }

    /// A link would lead what is written to any file of the user's.
    @Test(arguments: [".lock", "train.log", "log.csv", "checkpoints"])
    func linksInTheFolderAreRefused(_ name: String) throws {
        let run = try TinyRun()
        try run.train()
        try run.folder.write("precious".utf8, "target")
        let file = run.folder.file("run/\(name)")
        if name == "checkpoints" {
            try FileManager.default.moveItem(atPath: file, toPath: run.folder.file("elsewhere"))
        } else {
            unlink(file)
        }
        try FileManager.default.createSymbolicLink(
            atPath: file, withDestinationPath: "../" + (name == "checkpoints" ? "elsewhere" : "target"))
        let error = #expect(throws: UserError.self) { try run.train(purpose: .resume) }
        #expect(error?.message == "cannot write \(file): it is a symbolic link, which might lead anywhere")
        #expect(try run.folder.text("target") == "precious")
    }

    @Test func aPipeInPlaceOfAFileIsRefused() throws {
        let run = try TinyRun()
        try run.train()
        unlink(run.folder.file("run/train.log"))
        mkfifo(run.folder.file("run/train.log"), 0o600)
        #expect(throws: UserError.self) { try run.train(purpose: .resume) }
    }

    @Test func aPathThroughAFileIsNamed() throws {
        let folder = try TemporaryFolder()
        try folder.write([], "file")
        let error = #expect(throws: UserError.self) { try RunDirectory(folder.file("file/run"), for: .new) }
        #expect(error?.kind == .inputOutput)
        #expect(error?.message.contains(folder.file("file/run")) == true)
    }
}
