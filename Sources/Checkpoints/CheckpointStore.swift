import Console
import Files
import Foundation
import TensorCore

/// The checkpoints of a run:
///
///     step-00001000/ ...    what `newestGood` looks at
///     aside-00001234/ ...   what a failed step began with, and what a run left that went back to an earlier step
///     latest                a link to the newest for other programs; what is read here goes by the steps
public struct CheckpointStore: Sendable {
    public let folder: String
    /// Shares out checksums.
    private let pool: WorkerPool

    public init(folder: String, pool: WorkerPool = WorkerPool(threads: 1)) {
        (self.folder, self.pool) = (folder, pool)
    }
    /// Those of a run, by its folder.
    package init(run: String, pool: WorkerPool = WorkerPool(threads: 1)) {
        self.init(folder: run + "/" + RunFolder.checkpointsName, pool: pool)
    }

    public func path(step: Int) -> String { folder + "/" + Self.name(step: step) }
    package func asidePath(step: Int) -> String { folder + "/" + Self.name(step: step, "aside-") }
    private var latest: String { folder + "/latest" }

    private static func name(step: Int, _ prefix: String = "step-") -> String {
        let digits = String(step)
        return prefix + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    /// The step in a name, nil where it is not the name of a checkpoint.
    private static func step(of name: String) -> Int? {
        guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), name == Self.name(step: step) else {
            return nil
        }
        return step
    }

    /// Whether what has this name in the folder of checkpoints was made here.
    package static func isOurs(_ name: String) -> Bool {
        name == "latest" || name.wholeMatch(of: /(step|aside)-[0-9]{8,}/) != nil
    }

    public func steps() throws -> [Int] {
        guard access(folder, F_OK) == 0 else { return [] }
        return try folderContents(folder).compactMap(Self.step(of:)).sorted()
    }

    /// Writes a checkpoint and points `latest` at it.
    @discardableResult
    public func save(_ contents: Checkpoint.Contents, status: StatusLine = StatusLine()) throws -> Checkpoint {
        let checkpoint = try write(contents, to: path(step: contents.state.step), status)
        try pointLatest(to: contents.state.step)
        return checkpoint
    }

    /// Writes a state under a name that resuming passes over.
    package func saveAside(_ contents: Checkpoint.Contents, status: StatusLine) throws {
        _ = try write(contents, to: asidePath(step: contents.state.step), status)
    }

    private func write(_ contents: Checkpoint.Contents, to path: String, _ status: StatusLine) throws -> Checkpoint {
        try checkFreeSpace(for: contents)
        let bar = ProgressBar(
            "saving \(folderAndName(of: path).name)", total: contents.byteCount, unit: .bytes, line: status)
        defer { bar.finish() }
        return try Checkpoint.write(contents, to: path, on: pool, progress: bar)
    }

    /// Deletes all but the newest `keep` checkpoints of those up to `step`, and but those that `isSpared` names.
    public func removeOld(upTo step: Int, keep: Int, isSpared: (_ step: Int) -> Bool = { _ in false }) throws {
        require(keep > 0, "keeping \(keep) checkpoints")
        for old in try steps().filter({ $0 <= step }).dropLast(keep) where !isSpared(old) {
            try AtomicFile.remove(path(step: old))
        }
    }

    /// The newest checkpoint that is whole in the files that `isWanted` names. One that is damaged or cannot be read
    /// is passed over, with a word to `warn`; nil where there is no checkpoint at all, an error where none is whole.
    public func newestGood(
        status: StatusLine = StatusLine(), _ isWanted: (String) -> Bool = { _ in true }, warn: (String) -> Void
    ) throws -> Checkpoint? {
        var failure: UserError?
        let steps = try steps()
        for step in steps.reversed() {
            do {
                return try Checkpoint(verifying: path(step: step), step: step, on: pool, status: status, isWanted)
            } catch let error as UserError where error.kind != .usage {
                warn("\(error.message); trying the one before")
                failure = failure ?? error
            }
        }
        // Who makes the run removes old ones while they are looked at.
        if try self.steps() != steps { return try newestGood(status: status, isWanted, warn: warn) }
        if let failure {
            throw UserError(
                failure.kind, "none of the checkpoints in \(folder) is whole; the newest: \(failure.message)",
                hint: failure.kind == .inputOutput ? failure.hint : "start the run anew in another folder")
        }
        return nil
    }

    /// Why what was just read of a checkpoint is missing: who makes the run removed it meanwhile. Nil where it is there.
    package static func removal(of path: String) -> UserError? {
        if access(path, F_OK) == 0 { return nil }
        return UserError(
            .data, "\(path) was removed while it was read",
            hint: "the run keeps only its newest checkpoints (output.keep_checkpoints): try again")
    }

    /// The checkpoint of a step that the user chose, one that was set aside included.
    package func checkpoint(step: Int, status: StatusLine) throws -> Checkpoint {
        for path in [path(step: step), asidePath(step: step)] where access(path, F_OK) == 0 {
            return try Checkpoint(verifying: path, step: step, on: pool, status: status)
        }
        let steps = try steps().map(String.init).joined(separator: ", ")
        throw UserError(
            .usage, "there is no checkpoint of step \(step) in \(folder)",
            hint: steps.isEmpty ? "there is none at all" : "there are those of the steps \(steps)")
    }

    /// Makes the checkpoint of a step the newest: what is later is set aside, and it itself no longer is.
    package func goBack(to step: Int) throws {
        for later in try steps() where later > step { try move(path(step: later), to: asidePath(step: later)) }
        if access(path(step: step), F_OK) != 0 { try move(asidePath(step: step), to: path(step: step)) }
        try pointLatest(to: step)
    }

    private func move(_ path: String, to target: String) throws {
        if access(target, F_OK) == 0 { try AtomicFile.remove(target) }
        if rename(path, target) != 0 { throw UserError.system("rename", path, code: errno) }
    }

    private func checkFreeSpace(for contents: Checkpoint.Contents) throws {
        let free = try freeSpace(in: folder)
        let needed = contents.byteCount + 1 << 20
        guard free >= needed else {
            throw UserError(
                .inputOutput,
                "no room for a checkpoint in \(folder): it takes \(Format.bytes(needed)), "
                    + "\(Format.bytes(free)) are free",
                hint: "free some space, set a smaller output.keep_checkpoints, or choose another output.run_dir")
        }
    }

    package func pointLatest(to step: Int) throws {
        try AtomicFile.link(latest, to: Self.name(step: step))
    }

    /// Copying a run may turn the link `latest` into a folder. The copy of another checkpoint is removed; any other folder
    /// is renamed. Returns what was done, nil for nothing.
    package func restoreLatest(status: StatusLine) throws -> String? {
        guard fileType(latest, followingLinks: false) == S_IFDIR else { return nil }
        func manifest(_ folder: String) -> Data? {
            FileManager.default.contents(atPath: "\(folder)/\(Checkpoint.manifestName)")
        }
        if let copy = try? Checkpoint(verifying: latest, on: pool, status: status) {
            let step = copy.state.step
            if access(path(step: step), F_OK) != 0 {
                try move(latest, to: path(step: step))
                return "\(latest) was a folder, the only checkpoint of step \(step): it is \(path(step: step)) now"
            }
            if manifest(path(step: step)) == manifest(latest) {
                try AtomicFile.remove(latest)
                return "\(latest) was a folder, a copy of \(path(step: step)): it is a link again"
            }
        }
        let target = unusedPath(latest + ".old-")
        try move(latest, to: target)
        return "\(latest) was a folder, like none of the checkpoints: it is \(target) now"
    }
}
