import Console
import Glibc

/// A regular file open for reading: what a configuration, a tokenizer, a shard or a tensor file must be.
///
/// A pipe is refused before it can block, a device before it can go on for ever.
public final class RegularFile: Sendable {
    public let path: String
    /// In bytes, when it was opened.
    public let size: Int
    private let descriptor: Int32

    public init(_ path: String) throws {
        self.path = path
        // Without O_NONBLOCK the opening of a pipe would wait for its writer.
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if descriptor < 0 { throw UserError.system("open", path, code: errno) }
        var status = stat()
        let failure = fstat(descriptor, &status) == 0 ? nil : UserError.system("open", path, code: errno)
        size = Int(status.st_size)
        if let error = failure ?? Self.problem(status.st_mode, path) { throw error }
    }

    deinit { close(descriptor) }

    public static func exists(_ path: String) -> Bool { fileType(path) == S_IFREG }

    /// Fills `buffer` with the bytes at an offset. It is an error if the file ends before: its size was
    /// known, so it shrank meanwhile.
    public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        var done = 0
        while done < buffer.count {
            // Linux moves at most 2 GiB a call.
            let count = min(buffer.count - done, 1 << 30)
            let result = pread(descriptor, buffer.baseAddress! + done, count, offset + done)
            if result < 0, errno == EINTR { continue }
            if result < 0 { throw UserError.system("read", path, code: errno) }
            if result == 0 {
                let end = min(offset + done, try version().size)
                throw UserError(.data, "\(path): the file ends at byte \(end)", hint: "is another process writing it?")
            }
            done += result
        }
    }

    /// The whole content of a file that should be small.
    public static func contents(of path: String, limit: Int) throws -> [UInt8] {
        let file = try RegularFile(path)
        guard file.size <= limit else {
            throw UserError(
                .data, "\(path): \(Format.bytes(file.size)) is too large for this file",
                hint: "the file is damaged, or not of the kind that is expected")
        }
        var bytes = [UInt8](repeating: 0, count: file.size)
        try bytes.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        return bytes
    }

    /// What a change of the file changes.
    public struct Version: Equatable, Sendable {
        public let size: Int
        let seconds: Int
        let nanoseconds: Int
    }

    public func version() throws -> Version {
        var status = stat()
        if fstat(descriptor, &status) != 0 { throw UserError.system("read", path, code: errno) }
        return Version(
            size: Int(status.st_size), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
    }

    private static func problem(_ mode: mode_t, _ path: String) -> UserError? {
        let kind: String
        switch mode & S_IFMT {
        case S_IFREG: return nil
        case S_IFDIR: return UserError.system("open", path, code: EISDIR)
        case S_IFIFO: kind = "a pipe"
        case S_IFSOCK: kind = "a socket"
        default: kind = "a device"
        }
        return UserError(
            .inputOutput, "cannot open \(path): it is \(kind), a regular file is expected",
            hint: "write its content to a file, and name that")
    }
}
