import Console
import Glibc

/// A file of our own that is appended to; what is written is with the system at once.
package final class GrowingFile {
    package let path: String
    private let descriptor: Int32

    /// Opens or makes the file; `flags` are more of open(2)'s.
    package init(_ path: String, _ flags: Int32 = 0) throws {
        self.path = path
        descriptor = try openOwnFile(path, O_WRONLY | O_APPEND | flags)
    }

    deinit { close(descriptor) }

    package func write(_ text: String) throws { try write(Array(text.utf8)) }

    package func write(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try AtomicFile.write($0, to: descriptor, of: path, at: nil) }
    }

    /// Cuts off what is beyond so many bytes.
    package func truncate(to length: Int) throws {
        if ftruncate(descriptor, length) != 0 { throw UserError.system("write", path, code: errno) }
    }

    /// Flushes all of it to the disk.
    package func synchronize() throws {
        if fsync(descriptor) != 0 { throw UserError.system("write", path, code: errno) }
    }
}
