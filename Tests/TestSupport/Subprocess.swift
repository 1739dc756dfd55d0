import Foundation

/// The checkout that these tests belong to.
public let repositoryRoot = URL(filePath: #filePath).appending(path: "../../..").standardizedFileURL

/// Calls `body` with a new folder, which is removed afterwards.
public func withTemporaryFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let folder = URL(filePath: NSTemporaryDirectory()).appending(path: "cosmos-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
}

/// Calls `body` with a new folder that has these files, below further folders where their paths say so.
public func withFiles<Result>(_ files: [String: String], _ body: (URL) throws -> Result) throws -> Result {
    try withTemporaryFolder { root in
        for (path, text) in files {
            let file = root.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        return try body(root)
    }
}

/// What a finished command left behind.
public struct FinishedCommand: Sendable {
    /// The exit code; of a command that a signal ended, 128 and the signal's number.
    public let status: Int32
    public let output: String
    public let errorOutput: String
}

/// Runs `executable` (a path, or a name that is searched on the PATH) to its end, with no standard input.
/// `environment` is added to this process's own.
public func run(
    _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:],
    in folder: URL = repositoryRoot
) throws -> FinishedCommand {
    try withTemporaryFolder { files in
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [executable] + arguments
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        // Files, not pipes: a pipe that nobody empties stops its writer.
        let streams = [files.appending(path: "output"), files.appending(path: "errors")]
        for stream in streams { try Data().write(to: stream) }
        process.standardOutput = try FileHandle(forWritingTo: streams[0])
        process.standardError = try FileHandle(forWritingTo: streams[1])
        try process.run()
        process.waitUntilExit()
        let text = try streams.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }
        let signalled = process.terminationReason == .uncaughtSignal
        return FinishedCommand(
            status: process.terminationStatus + (signalled ? 128 : 0), output: text[0], errorOutput: text[1])
    }
}
