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

    /// Writes a whole file from memory.
    static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws -> FileSummary {
        try AtomicFile.write(bytes, to: path)
        return FileSummary(bytes: bytes.count, crc32: TokenData.crc32(bytes, continuing: 0))
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
        let file = try RegularFile(path)
        let block = UnsafeMutableRawBufferPointer.allocate(byteCount: blockBytes, alignment: 64)
        defer { block.deallocate() }
        var crc = UInt32(0)
        for start in stride(from: 0, to: file.size, by: blockBytes) {
            let part = UnsafeMutableRawBufferPointer(rebasing: block[..<min(blockBytes, file.size - start)])
            try file.read(at: start, into: part)
            crc = TokenData.crc32(UnsafeRawBufferPointer(part), continuing: crc)
            progress?.advance(by: part.count)
        }
        return FileSummary(bytes: file.size, crc32: crc)
    }
}
