import Console
import Files
import Glibc
import TokenData

public struct FileSummary: Codable, Equatable, Sendable {
    public let bytes: Int
    public let crc32: UInt32

    init(bytes: Int, crc32: UInt32) { (self.bytes, self.crc32) = (bytes, crc32) }

    static let chunkBytes = 1 << 20

    package static func write(_ bytes: UnsafeRawBufferPointer, to path: String) throws -> FileSummary {
        try AtomicFile.write(bytes, to: path)
        return FileSummary(bytes: bytes.count, crc32: TokenData.crc32(bytes, continuing: 0))
    }

    package init(of path: String, progress: ProgressBar?) throws {
        let file = try RegularFile(path)
        let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunkBytes, alignment: 64)
        defer { chunk.deallocate() }
        var crc = UInt32(0)
        for start in stride(from: 0, to: file.size, by: Self.chunkBytes) {
            let part = UnsafeMutableRawBufferPointer(rebasing: chunk[..<min(Self.chunkBytes, file.size - start)])
            try file.read(at: start, into: part)
            crc = TokenData.crc32(UnsafeRawBufferPointer(part), continuing: crc)
            progress?.advance(by: part.count)
        }
        self.init(bytes: file.size, crc32: crc)
    }
}
