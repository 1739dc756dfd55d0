import Configuration
import Foundation
import Glibc

/// The checkpoints of a run: `checkpoints/step-00001000/` ..., and `latest`, a link to the newest.
public struct CheckpointStore: Sendable {
    public let folder: String

    public init(folder: String) { self.folder = folder }

    public func path(step: Int) -> String { folder + "/" + Self.name(step: step) }

    static func name(step: Int) -> String {
        let digits = String(step)
        return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    /// The steps of all checkpoints, good or not, in order.
    public func steps() throws -> [Int] {
        guard access(folder, F_OK) == 0 else { return [] }
        return try folderContents(folder).compactMap { name in
            guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), name == Self.name(step: step) else {
                return nil
            }
            return step
        }.sorted()
    }

    /// Writes a checkpoint, points `latest` at it, and deletes all but the newest `keep` of those up to
    /// its step (nil: none). The new one is safe on the disk before an old one goes.
    @discardableResult
    public func save(_ contents: Checkpoint.Contents, keep: Int?, status: StatusLine = StatusLine()) throws
        -> Checkpoint
    {
        precondition((keep ?? 1) > 0, "keeping \(keep ?? 0) checkpoints")
        let step = contents.state.step
        try checkFreeSpace(for: contents)
        let bar = ProgressBar(
            "saving \(Self.name(step: step))", total: contents.byteCount, unit: .bytes, line: status)
        let checkpoint = try Checkpoint.write(contents, to: path(step: step), progress: bar)
        bar.finish()
        try pointLatest(to: Self.name(step: step))
        if let keep {
            for old in try steps().filter({ $0 <= step }).dropLast(keep) { try AtomicFile.remove(path(step: old)) }
        }
        return checkpoint
    }

    /// The newest checkpoint that is whole. A damaged one is passed over, with a word to `warn`; nil where
    /// there is no checkpoint at all, an error where there are only damaged ones.
    public func newestGood(status: StatusLine = StatusLine(), warn: (String) -> Void) throws -> Checkpoint? {
        var failure: UserError?
        for step in try steps().reversed() {
            do {
                return try Checkpoint(verifying: path(step: step), status: status)
            } catch let error as UserError where error.kind == .data {
                warn("\(error.message); trying the one before")
                failure = failure ?? error
            }
        }
        if let failure {
            throw UserError(
                .data, "none of the checkpoints in \(folder) is whole; the newest: \(failure.message)",
                hint: "start the run anew in another folder")
        }
        return nil
    }

    private func checkFreeSpace(for contents: Checkpoint.Contents) throws {
        let free = try FileBytes.freeSpace(in: folder)
        let needed = contents.byteCount + 1 << 20
        guard free >= needed else {
            throw UserError(
                .inputOutput,
                "no room for a checkpoint in \(folder): it takes \(Format.bytes(needed)), "
                    + "\(Format.bytes(free)) are free",
                hint: "free some space, set a smaller output.keep_checkpoints, or choose another output.run_dir")
        }
    }

    private func pointLatest(to name: String) throws {
        let (link, new) = (folder + "/latest", folder + "/.latest.tmp-\(getpid())")
        unlink(new)
        if symlink(name, new) != 0 || rename(new, link) != 0 { throw UserError.system("create", link, code: errno) }
    }
}
