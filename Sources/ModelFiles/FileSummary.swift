import Console
import Files
import Foundation
import TensorCore
import TokenData

public struct FileSummary: Codable, Equatable, Sendable {
    public let bytes: Int
    public let crc32: UInt32

    init(bytes: Int, crc32: UInt32) { (self.bytes, self.crc32) = (bytes, crc32) }

    package static func write(_ data: Data, to path: String) throws -> FileSummary {
        try AtomicFile.write(data, to: path)
        return FileSummary(bytes: data.count, crc32: data.withUnsafeBytes { TokenData.crc32($0) })
    }

    package init(of path: String, on pool: WorkerPool, progress: ProgressBar?) throws {
        let file = try RegularFile(path)
        let size = min(file.size, 1 << 18)
        let buffers = UnsafeMutableRawBufferPointer.allocate(byteCount: pool.workerCount * size, alignment: 64)
        defer { buffers.deallocate() }
        let crc = try Self.crc32(of: file.size, partSize: 1 << 18, on: pool) { range, worker in
            let part = UnsafeMutableRawBufferPointer(rebasing: buffers[(worker * size)...].prefix(range.count))
            try file.read(at: range.lowerBound, into: part)
            progress?.advance(by: part.count)
            return UnsafeRawBufferPointer(part)
        }
        self.init(bytes: file.size, crc32: crc)
    }

    /// The CRC-32 of so many bytes, which all workers share part by part.
    static func crc32(
        of count: Int, partSize: Int, on pool: WorkerPool,
        _ bytes: (_ range: Range<Int>, _ worker: Int) throws -> UnsafeRawBufferPointer
    ) throws -> UInt32 {
        let parts = ranges(of: count, size: partSize)
        var sums = [UInt32](repeating: 0, count: parts.count)
        try sums.withUnsafeMutableBufferPointer { sums in
            try pool.forEach(parts.count, phase: "checksum", cancellation: nil) { index, worker in
                sums[index] = TokenData.crc32(try bytes(parts[index], worker))
            }
        }
        return zip(sums, parts).reduce(0) { TokenData.crc32($0, followedBy: $1.0, count: $1.1.count) }
    }
}
