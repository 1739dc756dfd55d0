import CZlib
import Console
import TensorCore

/// The version of zlib that was loaded: "1.2.13".
public var zlibRuntimeVersion: String { String(cString: zlibVersion()) }

/// zlib's CRC-32 of `bytes`, continuing from that of the bytes before them.
public func crc32(_ bytes: UnsafeRawBufferPointer, continuing previous: UInt32 = 0) -> UInt32 {
    guard let base = bytes.baseAddress, bytes.count > 0 else { return previous }
    return UInt32(CZlib.crc32_z(UInt(previous), base.assumingMemoryBound(to: UInt8.self), bytes.count))
}

/// The CRC-32 of two pieces, one after the other, from the CRC-32 of each and the length of the second.
public func crc32(_ first: UInt32, followedBy second: UInt32, count: Int) -> UInt32 {
    UInt32(CZlib.crc32_combine(UInt(first), UInt(second), count))
}

/// The unpacked bytes of a gzip file, which may consist of several members one after the other (as
/// `cat a.gz b.gz` makes them). Each member's checksum and length are checked.
final class GzipFile: ByteStream {
    private let file: InputFile
    private let stream: UnsafeMutablePointer<z_stream>
    private let input: UnsafeMutableRawBufferPointer
    /// Whether a member has begun that has not ended.
    private var isInMember = false
    private var hasMember = false
    private var unpackedCount = 0

    init(_ file: InputFile) {
        self.file = file
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        input = .allocate(byteCount: 1 << 18, alignment: 64)
        // 15: the largest window; + 16: gzip's header and trailer.
        let status = inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        require(status == Z_OK, "inflateInit2 failed with \(status)")
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
        input.deallocate()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        let room = min(buffer.count, Int(UInt32.max))
        stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(room)
        while stream.pointee.avail_out > 0 {
            if stream.pointee.avail_in == 0 {
                let count = try file.read(into: input)
                if count == 0 { break }
                stream.pointee.next_in = input.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_in = UInt32(count)
            }
            if !isInMember {
                if hasMember {
                    // Zero bytes may pad the file after a member (tar and tape do so).
                    while stream.pointee.avail_in > 0, stream.pointee.next_in.pointee == 0 {
                        stream.pointee.next_in += 1
                        stream.pointee.avail_in -= 1
                    }
                    if stream.pointee.avail_in == 0 { continue }
                    inflateReset(stream)
                }
                (isInMember, hasMember) = (true, true)
            }
            switch inflate(stream, Z_NO_FLUSH) {
            case Z_OK, Z_BUF_ERROR: break
            case Z_STREAM_END: isInMember = false
            case let status:
                unpackedCount += room - Int(stream.pointee.avail_out)
                throw corrupt(stream.pointee.msg.map { String(cString: $0) } ?? "zlib error \(status)")
            }
        }
        let count = room - Int(stream.pointee.avail_out)
        unpackedCount += count
        if count == 0, isInMember {
            throw UserError(
                .data,
                "\(file.path): the gzip file is truncated: it ends at byte \(file.bytesRead), "
                    + "after \(unpackedCount) bytes of text, in the middle of its data",
                hint: "download or copy it again; `gzip -t \(file.path)` checks a file")
        }
        return count
    }

    private func corrupt(_ reason: String) -> UserError {
        let offset = file.bytesRead - Int(stream.pointee.avail_in)
        let message =
            unpackedCount == 0 && offset <= 10
            ? "\(file.path): not a gzip file (\(reason))"
            : "\(file.path): corrupt gzip data near byte \(offset), after \(unpackedCount) bytes of text: \(reason)"
        return UserError(
            .data, message, hint: "download or copy it again; `gzip -t \(file.path)` checks a file")
    }
}
