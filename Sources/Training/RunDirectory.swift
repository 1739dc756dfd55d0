import Checkpoints
import Console
import Files
import Glibc

/// The folder of one run, held by this process alone for as long as the object lives:
///
///     config.resolved.cfg   the configuration with every default written out
///     log.csv               one row a step
///     log.jsonl             the same as JSON, where asked for
///     train.log             what the run said
///     history.json          what made its steps, and what changed between them
///     events.out.tfevents.* the log's columns for TensorBoard, where asked for
///     checkpoints/          step-00001000/ ..., latest
public final class RunDirectory {
    /// What to do with a run that the folder already holds.
    public enum Purpose: Sendable {
        case new
        /// Continue it; it must be there.
        case resume
        /// Set it aside as `<name>.old-1` and begin anew.
        case replace
    }

    static let jsonLinesName = "log.jsonl"

    public let path: String
    public var configuration: String { path + "/" + RunFolder.configurationName }
    public var log: String { path + "/" + RunFolder.logName }
    public var trainLog: String { path + "/" + RunFolder.trainLogName }
    public var checkpoints: String { path + "/" + RunFolder.checkpointsName }
    /// Where `replace` left the run that was here.
    public let replacedRun: String?
    private let lock: FolderLock
    /// What the folder held before this start.
    private let present: Set<String>

    /// Creates or opens the folder and locks it. Throws `UserError` where it holds a run that `purpose`
    /// does not expect, lacks one that it does, cannot be written, or is in use.
    public init(_ path: String, for purpose: Purpose) throws {
        self.path = path.withoutTrailingSlashes
        if purpose == .resume { try Self.check(self.path, for: purpose) }
        var lock = try FolderLock(self.path)
        try Self.check(self.path, for: purpose)
        var replacedRun: String?
        if purpose == .replace, RunFolder.holdsRun(self.path) {
            replacedRun = try Self.setAside(self.path)
            lock = try FolderLock(self.path)
        }
        (self.lock, self.replacedRun) = (lock, replacedRun)
        present = Set(try folderContents(self.path))
        try makeOwnFolder(checkpoints)
        AtomicFile.removeLeftovers(in: self.path) {
            [RunFolder.configurationName, RunHistory.fileName, Self.jsonLinesName].contains($0)
        }
        AtomicFile.removeLeftovers(in: checkpoints, of: CheckpointStore.isOurs)
    }

    /// Takes back what a new run has made so far: a start that failed before the first step leaves no run, and
    /// the run that it replaced returns. What others put into the folder meanwhile stays.
    package func abandon() {
        for name in (try? folderContents(path)) ?? [] where !present.contains(name) {
            let ours = [
                RunFolder.configurationName, RunHistory.fileName, RunFolder.logName, RunFolder.trainLogName,
                Self.jsonLinesName,
            ]
            if ours.contains(name) || name.hasPrefix(TensorBoardLog.prefix) { unlink(path + "/" + name) }
        }
        rmdir(checkpoints)
        if lock.isNew {
            unlink(path + "/.lock")
            rmdir(path)
        }
        if let replacedRun { rename(replacedRun, path) }
    }

    /// Throws where the folder holds a run that `purpose` does not expect, or lacks one that it does.
    public static func check(_ path: String, for purpose: Purpose) throws {
        switch (purpose, RunFolder.holdsRun(path)) {
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

    private static func setAside(_ path: String) throws -> String {
        let target = unusedPath(path + ".old-")
        if rename(path, target) != 0 { throw UserError.system("rename", path, code: errno) }
        return target
    }
}
