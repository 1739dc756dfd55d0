import Console
import Files
import Glibc
import TensorCore

protocol ByteStream: AnyObject {
    /// Fills `buffer` from its start; the number of bytes read, 0 only at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

/// A file, or a pipe, opened for reading from front to back.
final class InputFile: ByteStream {
    let path: String
    private(set) var bytesRead = 0
    private let descriptor: Int32
    private let isPipe: Bool
    private let cancellation: CancellationFlag?

    init(_ path: String, cancellation: CancellationFlag? = nil) throws {
        self.path = path
        self.cancellation = cancellation
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw UserError.system("open", path, code: errno) }
        var status = stat()
        isPipe = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
    }

    deinit { close(descriptor) }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            if isPipe { try waitForBytes() }
            let count = Glibc.read(descriptor, buffer.baseAddress, min(buffer.count, 1 << 30))
            if count >= 0 {
                bytesRead += count
                return count
            }
            if errno != EINTR { throw UserError.system("read", path, code: errno) }
        }
    }

    /// A signal ends a wait for a pipe, but not a read from it.
    private func waitForBytes() throws {
        var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&request, 1, -1) < 0, errno == EINTR {
            if cancellation?.isRequested == true { throw CancellationError() }
        }
    }

    /// The size of a file that can be opened, without opening it (which would disturb a pipe); a pipe has none.
    static func readableSize(of path: String) throws -> Int {
        var status = stat()
        guard access(path, R_OK) == 0, stat(path, &status) == 0 else {
            throw UserError.system("open", path, code: errno)
        }
        return Int(status.st_size)
    }
}
