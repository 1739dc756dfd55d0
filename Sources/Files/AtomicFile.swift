import Console
import Foundation
import Synchronization

/// A file or a folder that appears whole or not at all.
///
/// It is written under a temporary name beside its place, flushed to the disk, and renamed when it
/// is complete; then the folder that holds it is flushed too. Whoever looks sees the old content or
/// the new one, after a crash as well. Dropped before `commit`, the temporary file is removed; what
/// a killed process left behind is removed by `removeLeftovers(in:of:)`.
public final class AtomicFile {
    public let path: String
    public private(set) var byteCount = 0
    private let temporary: String
    private var descriptor: Int32

    public init(path: String) throws {
        self.path = path
        // A rename would put a file in the place of a device, a pipe, or the links that name them.
        if ["/dev/stdout", "/dev/stderr"].contains(path) || ![S_IFREG, S_IFDIR].contains(fileType(path) ?? S_IFREG) {
            throw UserError(.inputOutput, "cannot create \(path): it is a device or a pipe", hint: "name a file")
        }
        temporary = try Self.temporaryPath(for: path, ending: Self.unfinished)
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        if descriptor < 0 { throw UserError.system("create", path, code: errno) }
        Self.underWay.withLock { _ = $0.insert(temporary) }
    }

    deinit {
        guard descriptor >= 0 else { return }
        close(descriptor)
        Self.underWay.withLock {
            unlink(temporary)
            $0.remove(temporary)
        }
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        try Self.write(bytes, to: descriptor, of: path, at: nil)
        byteCount += bytes.count
    }

    public func write(_ text: String) throws {
        var text = text
        try text.withUTF8 { try write(UnsafeRawBufferPointer($0)) }
    }

    /// Overwrites what stands at a byte offset, such as a header whose counts are known at the end.
    public func overwrite(at offset: Int, with bytes: UnsafeRawBufferPointer) throws {
        precondition(offset >= 0 && offset + bytes.count <= byteCount, "overwriting beyond the end of \(path)")
        try Self.write(bytes, to: descriptor, of: path, at: offset)
    }

    /// Flushes the file and gives it its name, replacing a file of that name.
    public func commit() throws {
        precondition(descriptor >= 0, "\(path) is committed twice")
        if fsync(descriptor) != 0 { throw UserError.system("write", path, code: errno) }
        try Self.giveName(temporary, path)
        let status = close(descriptor)
        let code = errno
        descriptor = -1
        if status != 0 { throw UserError.system("write", path, code: code) }
        try Self.synchronizeFolder(of: path)
    }

    public static func write(_ bytes: some ContiguousBytes, to path: String) throws {
        let file = try AtomicFile(path: path)
        try bytes.withUnsafeBytes { try file.write($0) }
        try file.commit()
    }

    public static func write(_ text: String, to path: String) throws { try write(Data(text.utf8), to: path) }

    /// Makes a folder whose files `body` writes into the temporary folder that it is given. A folder of that name that
    /// holds anything is replaced, or, where the folder must be new, an error: another process may have made it meanwhile.
    public static func writeFolder<Result>(
        _ path: String, mustBeNew: Bool = false, _ body: (_ temporary: String) throws -> Result
    ) throws -> Result {
        let temporary = try temporaryPath(for: path, ending: unfinished)
        try underWay.withLock {
            if mkdir(temporary, 0o777) != 0 { throw UserError.system("create", path, code: errno) }
            $0.insert(temporary)
        }
        do {
            let result = try body(temporary)
            try synchronize(folder: temporary)
            // A folder cannot be renamed over another one that holds files: the old one goes aside
            // first, and `removeLeftovers` puts it back should the process die in between.
            let replaced = try temporaryPath(for: path, ending: Self.replaced)
            let isReplacing = !mustBeNew && rename(path, replaced) == 0
            do { try giveName(temporary, path) } catch {
                if isReplacing { rename(replaced, path) }
                throw error
            }
            try synchronizeFolder(of: path)
            if isReplacing { try? FileManager.default.removeItem(atPath: replaced) }
            return result
        } catch {
            underWay.withLock {
                try? FileManager.default.removeItem(atPath: temporary)
                $0.remove(temporary)
            }
            throw error
        }
    }

    /// Removes what is half written and ends the process; meanwhile nothing takes its place.
    package static func abandonAll(_ end: () -> Never) -> Never {
        underWay.withLock {
            for path in $0 {
                // Another thread may make one more file in a folder while it is removed.
                for _ in 0..<100 where access(path, F_OK) == 0 { try? FileManager.default.removeItem(atPath: path) }
            }
            end()
        }
    }

    private static func giveName(_ temporary: String, _ path: String) throws {
        try underWay.withLock {
            if rename(temporary, path) != 0 { throw UserError.system("create", path, code: errno) }
            $0.remove(temporary)
        }
    }

    /// Removes a file or folder with all that it holds. It loses its name first, so that a removal
    /// that is killed half way leaves nothing that looks whole.
    public static func remove(_ path: String) throws {
        let nameless = try temporaryPath(for: path, ending: unfinished)
        if rename(path, nameless) != 0 { throw UserError.system("remove", path, code: errno) }
        try synchronizeFolder(of: path)
        try? FileManager.default.removeItem(atPath: nameless)
    }

    /// Removes what killed processes left in a folder of files and folders whose names `isOurs` accepts. Nobody
    /// else may be writing there.
    public static func removeLeftovers(in folder: String, of isOurs: (_ name: String) -> Bool) {
        for name in (try? folderContents(folder)) ?? [] {
            guard let match = name.wholeMatch(of: /\.(.+)(\.tmp-|\.replaced-)[0-9]+-[0-9]+/), isOurs(String(match.1))
            else { continue }
            let (leftover, original) = (folder + "/" + name, folder + "/" + match.1)
            // Its successor was about to take its place when the process died.
            if match.2 == replaced, access(original, F_OK) != 0, rename(leftover, original) == 0 { continue }
            try? FileManager.default.removeItem(atPath: leftover)
        }
    }

    /// Makes `path` a symbolic link to `target`, in the place of one that is there.
    package static func link(_ path: String, to target: String) throws {
        let temporary = try temporaryPath(for: path, ending: unfinished)
        if symlink(target, temporary) != 0 || rename(temporary, path) != 0 {
            let code = errno
            unlink(temporary)
            throw UserError.system("create", path, code: code)
        }
    }

    /// Makes the names in the folder that holds `path` survive a power failure.
    package static func synchronizeFolder(of path: String) throws {
        try synchronize(folder: folderAndName(of: path).folder)
    }

    private static func synchronize(folder: String) throws {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor < 0 { throw UserError.system("open", folder, code: errno) }
        defer { close(descriptor) }
        // Some network file systems cannot flush a folder and say EINVAL.
        if fsync(descriptor) != 0, errno != EINVAL { throw UserError.system("write", folder, code: errno) }
    }

    /// Writes all of `bytes`, appending or at an offset; `path` is for the message.
    package static func write(
        _ bytes: UnsafeRawBufferPointer, to descriptor: Int32, of path: String, at offset: Int?
    ) throws {
        let code = writeAll(bytes, to: descriptor, at: offset)
        if code != 0 { throw UserError.system("write", path, code: code) }
    }

    private static let unfinished = ".tmp-"
    private static let replaced = ".replaced-"
    private static let counter = Atomic<Int>(0)
    private static let underWay = Mutex<Set<String>>([])

    /// A name beside `path` that no other thread or process uses.
    private static func temporaryPath(for path: String, ending: String) throws -> String {
        if path.isEmpty { throw UserError.system("create", path, code: ENOENT) }
        let (folder, name) = folderAndName(of: path)
        let number = counter.add(1, ordering: .relaxed).newValue
        return Files.path(of: ".\(name)\(ending)\(getpid())-\(number)", in: folder)
    }
}
