import Configuration
import Glibc
import TokenData

/// Size and checksum of a file.
public struct FileSummary: Codable, Equatable, Sendable {
    public let bytes: Int
    public let crc32: UInt32
}

enum FileBytes {
    static let blockBytes = 1 << 20

    /// Fills `buffer` from an open file; `path` is for messages. It is an error if the file ends before
    /// (the size was checked, so it shrank meanwhile).
    static func read(
        _ descriptor: Int32, _ path: String, at offset: Int, into buffer: UnsafeMutableRawBufferPointer
    ) throws {
        var done = 0
        while done < buffer.count {
            // Linux moves at most 2 GiB a call.
            let count = min(buffer.count - done, 1 << 30)
            let result = pread(descriptor, buffer.baseAddress! + done, count, offset + done)
            if result < 0, errno == EINTR { continue }
            if result < 0 { throw UserError.system("read", path, code: errno) }
            if result == 0 {
                throw UserError(
                    .data, "\(path): the file ends at byte \(offset + done)", hint: "is another process writing it?")
            }
            done += result
        }
    }

    /// Writes a whole file from memory.
    static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws -> FileSummary {
        try AtomicFile.write(bytes, to: path)
        return FileSummary(bytes: bytes.count, crc32: TokenData.crc32(bytes, continuing: 0))
    }

    /// A small file whole.
    static func contents(of path: String, limit: Int) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw UserError.system("open", path, code: errno) }
        defer { close(descriptor) }
        let size = try size(of: descriptor, path)
        guard size <= limit else {
            throw UserError(
                .data, "\(path): \(Format.bytes(size)) is too large for this file",
                hint: "the file is damaged, or not of the kind that is expected")
        }
        var bytes = [UInt8](repeating: 0, count: size)
        try bytes.withUnsafeMutableBytes { try read(descriptor, path, at: 0, into: $0) }
        return bytes
    }

    /// The size of an open file, which must not be a folder.
    static func size(of descriptor: Int32, _ path: String) throws -> Int {
        var status = stat()
        if fstat(descriptor, &status) != 0 { throw UserError.system("read", path, code: errno) }
        if status.st_mode & S_IFMT == S_IFDIR { throw UserError.system("read", path, code: EISDIR) }
        return Int(status.st_size)
    }

    /// The size of a file.
    static func size(of path: String) throws -> Int {
        var status = stat()
        if stat(path, &status) != 0 { throw UserError.system("open", path, code: errno) }
        return Int(status.st_size)
    }

    /// The bytes that may still be written where a folder lies.
    static func freeSpace(in folder: String) throws -> Int {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { throw UserError.system("look at", folder, code: errno) }
        return Int(clamping: UInt64(status.f_bavail) &* UInt64(status.f_frsize))
    }

    /// Reads a whole file for its checksum.
    static func summary(of path: String, progress: ProgressBar?) throws -> FileSummary {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw UserError.system("open", path, code: errno) }
        defer { close(descriptor) }
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 64)
        defer { block.deallocate() }
        var (bytes, crc) = (0, UInt32(0))
        while true {
            let count = Glibc.read(descriptor, block.baseAddress, block.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { throw UserError.system("read", path, code: errno) }
            if count == 0 { return FileSummary(bytes: bytes, crc32: crc) }
            bytes += count
            crc = TokenData.crc32(UnsafeRawBufferPointer(rebasing: block[..<count]), continuing: crc)
            progress?.advance(by: count)
        }
    }
}
