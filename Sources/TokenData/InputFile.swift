import Configuration
import Glibc

/// Bytes read from front to back.
protocol ByteStream: AnyObject {
    /// Fills `buffer` from its start; the number of bytes read, 0 only at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int
}

/// A file opened for reading.
final class InputFile: ByteStream {
    let path: String
    /// The file's size when it was opened; 0 for a pipe.
    let size: Int
    private(set) var bytesRead = 0
    private let descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw UserError.system("open", path, code: errno) }
        var status = stat()
        let result = fstat(descriptor, &status)
        size = result == 0 ? Int(status.st_size) : 0
        if result == 0, status.st_mode & S_IFMT == S_IFDIR {
            close(descriptor)
            throw UserError.system("read", path, code: EISDIR)
        }
    }

    deinit { close(descriptor) }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while true {
            let count = Glibc.read(descriptor, buffer.baseAddress, min(buffer.count, 1 << 30))
            if count >= 0 {
                bytesRead += count
                return count
            }
            if errno != EINTR { throw UserError.system("read", path, code: errno) }
        }
    }

    /// The size of a file that can be opened, without opening it (which would disturb a pipe).
    static func readableSize(of path: String) throws -> Int {
        var status = stat()
        guard access(path, R_OK) == 0, stat(path, &status) == 0 else {
            throw UserError.system("open", path, code: errno)
        }
        return Int(status.st_size)
    }

    /// A read-only map of the whole file, valid until `munmap`.
    func map() throws -> UnsafeRawBufferPointer {
        guard size > 0 else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        guard let base = mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0), base != MAP_FAILED else {
            throw UserError.system("map", path, code: errno)
        }
        return UnsafeRawBufferPointer(start: base, count: size)
    }

    /// The whole content of a small file.
    static func contents(of path: String, limit: Int) throws -> [UInt8] {
        let file = try InputFile(path)
        if file.size > limit {
            throw UserError(.data, "\(path) has \(Format.bytes(file.size)): more than a file of its kind can have")
        }
        return try [UInt8](unsafeUninitializedCapacity: file.size) { buffer, count in
            while count < buffer.count {
                let more = try file.read(
                    into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: buffer[count...])))
                if more == 0 { break }
                count += more
            }
        }
    }
}
