import Console
import Glibc

/// A folder in which this process works for as long as the object lives: alone, unless it agreed to share it.
///
/// The kernel frees the lock when the process ends, however it ends: no stale lock is possible.
package final class FolderLock {
    /// How flock(2) is called.
    package struct Sharing: Equatable, Sendable {
        fileprivate let operation: Int32
        /// Nobody else may hold the folder.
        package static let alone = Sharing(operation: LOCK_EX | LOCK_NB)
        /// Others who share it, too, may.
        package static let shared = Sharing(operation: LOCK_SH | LOCK_NB)
        /// Alone, as soon as whoever holds it is done.
        package static let inTurn = Sharing(operation: LOCK_EX)
    }

    package let isNew: Bool
    private let descriptor: Int32

    /// Makes the folder where it is missing. Throws where another process holds it; `option` is how the user
    /// named it, `work` what is done there.
    package init(
        _ folder: String, option: String = "output.run_dir", for work: String = "training", _ sharing: Sharing = .alone
    ) throws {
        let file = folder + "/.lock"
        var attempts = 0
        while true {
            let isNew = try makeFolder(folder)
            let descriptor: Int32
            do { descriptor = try openOwnFile(file, O_RDWR) } catch let error as UserError {
                // Between the two calls another process may have set the folder aside.
                attempts += 1
                guard attempts < 100, error == .system("write", file, code: ENOENT) else { throw error }
                continue
            }
            if flock(descriptor, sharing.operation) != 0 {
                let code = errno
                close(descriptor)
                guard code == EWOULDBLOCK else { throw UserError.system("lock", file, code: code) }
                let owner = (try? RegularFile.contents(of: file, limit: 100)).flatMap {
                    Int(String(decoding: $0, as: UTF8.self).trimmed)
                }
                throw UserError(
                    .usage, "another process\(owner.map { " (\($0))" } ?? "") is \(work) in \(folder)",
                    hint: "wait for it, stop it, or choose another \(option)")
            }
            // Between the two calls another process may have set the folder aside, and the lock with it.
            var (locked, present) = (stat(), stat())
            if fstat(descriptor, &locked) == 0, lstat(file, &present) == 0,
                (locked.st_dev, locked.st_ino) == (present.st_dev, present.st_ino)
            {
                ftruncate(descriptor, 0)
                // Of several who share it none is named.
                let owner = sharing == .shared ? [] : Array("\(getpid())\n".utf8)
                pwrite(descriptor, owner, owner.count, 0)
                (self.isNew, self.descriptor) = (isNew, descriptor)
                return
            }
            close(descriptor)
        }
    }

    deinit {
        // Not by `close` alone: a process that another thread is just forking has the descriptor, too.
        flock(descriptor, LOCK_UN)
        close(descriptor)
    }
}
