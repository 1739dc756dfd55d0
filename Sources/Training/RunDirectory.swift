import Configuration
import Foundation
import Glibc

/// The folder of one run, held by this process alone for as long as the object lives:
///
///     config.resolved.cfg   the configuration with every default written out
///     log.csv               one row a step
///     train.log             what the run said
///     history.json          what made its steps, and what changed between them
///     events.out.tfevents.* the log's columns for TensorBoard, where asked for
///     checkpoints/          step-00001000/ ..., latest
public final class RunDirectory {
    /// What to do with a run that the folder already holds.
    public enum Purpose: Sendable {
        /// Refuse it.
        case new
        /// Continue it; it must be there.
        case resume
        /// Set it aside as `<name>.old-1` and begin anew.
        case replace
    }

    public let path: String
    public var configuration: String { path + "/config.resolved.cfg" }
    public var log: String { path + "/log.csv" }
    public var trainLog: String { path + "/train.log" }
    public var checkpoints: String { path + "/checkpoints" }
    /// Where `replace` left the run that was here.
    public let replacedRun: String?
    /// Whether the folder was made by this start.
    private let isNew: Bool
    private let lock: Int32

    /// Creates or opens the folder and locks it. Throws `UserError` where it holds a run that `purpose`
    /// does not expect, lacks one that it does, cannot be written, or is in use.
    public init(_ path: String, for purpose: Purpose) throws {
        self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        if purpose == .resume { try Self.check(self.path, for: purpose) }
        var isNew = !isFolder(self.path)
        try makeFolder(self.path)
        var descriptor = try Self.lock(self.path)
        var replacedRun: String?
        do {
            try Self.check(self.path, for: purpose)
            if purpose == .replace, Self.holdsRun(self.path) {
                replacedRun = try Self.setAside(self.path)
                close(descriptor)
                descriptor = -1
                try makeFolder(self.path)
                isNew = true
                descriptor = try Self.lock(self.path)
            }
            try makeFolder(self.path + "/checkpoints")
            AtomicFile.removeLeftovers(in: self.path)
            AtomicFile.removeLeftovers(in: self.path + "/checkpoints")
        } catch {
            if descriptor >= 0 { close(descriptor) }
            throw error
        }
        (self.replacedRun, self.isNew) = (replacedRun, isNew)
        lock = descriptor
    }

    deinit {
        // Not by `close` alone: a process that another thread is just forking has the descriptor, too.
        flock(lock, LOCK_UN)
        close(lock)
    }

    /// Takes back what a new run has made so far: a start that failed before the first step leaves no run, and
    /// the run that it replaced returns.
    func abandon() {
        if isNew {
            try? FileManager.default.removeItem(atPath: path)
        } else {
            for file in [configuration, log, path + "/" + RunHistory.fileName] { unlink(file) }
            rmdir(checkpoints)
        }
        if let replacedRun { rename(replacedRun, path) }
    }

    /// Throws where the folder holds a run that `purpose` does not expect, or lacks one that it does.
    public static func check(_ path: String, for purpose: Purpose) throws {
        switch (purpose, holdsRun(path)) {
        case (.resume, false):
            throw UserError(
                .usage, "there is no run to resume in \(path)",
                hint: "check output.run_dir, or start the run without --resume")
        case (.new, true):
            throw UserError(
                .usage, "\(path) already holds a run",
                hint: "continue it with --resume, set it aside with --replace, or choose another output.run_dir")
        default: break
        }
    }

    /// Whether a folder holds what a run leaves behind.
    public static func holdsRun(_ path: String) -> Bool {
        ["config.resolved.cfg", "log.csv", "checkpoints"].contains { access("\(path)/\($0)", F_OK) == 0 }
    }

    /// The kernel frees the lock when the process ends, however it ends: no stale lock is possible.
    package static func lock(_ path: String) throws -> Int32 {
        let file = path + "/.lock"
        let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        if descriptor < 0 { throw UserError.system("write in", path, code: errno) }
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let code = errno
            defer { close(descriptor) }
            guard code == EWOULDBLOCK else { throw UserError.system("lock", file, code: code) }
            let owner = (try? String(contentsOfFile: file, encoding: .utf8)).flatMap { Int($0.trimmed) }
            throw UserError(
                .usage, "another process\(owner.map { " (\($0))" } ?? "") is training in \(path)",
                hint: "wait for it, stop it, or choose another output.run_dir")
        }
        ftruncate(descriptor, 0)
        let owner = Array("\(getpid())\n".utf8)
        pwrite(descriptor, owner, owner.count, 0)
        return descriptor
    }

    private static func setAside(_ path: String) throws -> String {
        var number = 1
        while access("\(path).old-\(number)", F_OK) == 0 { number += 1 }
        let target = "\(path).old-\(number)"
        if rename(path, target) != 0 { throw UserError.system("rename", path, code: errno) }
        return target
    }
}

extension String {
    var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
