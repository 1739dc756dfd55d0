import Checkpoints
import Console
import Files
import Foundation
import Glibc
import TokenData

/// The log's columns as scalars for TensorBoard: an event file in the run's folder, one a session.
///
///     events.out.tfevents.<seconds>.<host>.<process>
///
/// The file is a sequence of records (TensorFlow's TFRecord): the length in bytes as uint64, the masked
/// CRC-32C of those 8 bytes, the record, its masked CRC-32C; all little endian. A record is an `Event`
/// (event.proto), here encoded by hand: wall_time = 1, step = 2, file_version = 3, summary = 5,
/// session_log = 7. A session begins with a START at its first step, at which TensorBoard drops what an
/// earlier session had written from that step on.
package final class TensorBoardLog {
    static let prefix = "events.out.tfevents."
    private let path: String
    private let descriptor: Int32

    /// A new file in `folder` for a session whose first step is `firstStep`.
    package init(folder: String, firstStep: Int) throws {
        let earlier = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).compactMap { name in
            name.hasPrefix(Self.prefix) ? Int(name.dropFirst(Self.prefix.count).prefix { $0.isNumber }) : nil
        }
        // TensorBoard reads the files in the order of their names.
        let seconds = max(Int(Date.now.timeIntervalSince1970), (earlier.max() ?? 0) + 1)
        path = "\(folder)/\(Self.prefix)\(seconds).\(ProcessInfo.processInfo.hostName).\(getpid())"
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o666)
        if descriptor < 0 { throw UserError.system("create", path, code: errno) }
        try write([(3, .bytes(Array("brain.Event:2".utf8)[...]))])
        let start: UInt64 = 1
        try write([
            (2, .integer(UInt64(firstStep))), (7, .bytes(ProtocolBuffer.encode([(1, .integer(start))])[...])),
        ])
    }

    deinit { close(descriptor) }

    /// Appends the values of a row under the names of the log's columns.
    package func append(_ row: LogRow) throws {
        // Summary: value = 1, of which tag = 1, simple_value = 2 (a float).
        let values = zip(LogRow.columns, row.fields).dropFirst()
        let summary = values.compactMap { column, text in
            Float(text).map { value in
                let fields: [(Int, ProtocolBuffer.Value)] = [
                    (1, .bytes(Array(column.utf8)[...])), (2, .fixed32(value.bitPattern)),
                ]
                return (1, ProtocolBuffer.Value.bytes(ProtocolBuffer.encode(fields)[...]))
            }
        }
        try write([(2, .integer(UInt64(row.step))), (5, .bytes(ProtocolBuffer.encode(summary)[...]))])
    }

    /// Writes one event, with the time.
    private func write(_ fields: [(Int, ProtocolBuffer.Value)]) throws {
        let time = Date.now.timeIntervalSince1970.bitPattern
        let event = ProtocolBuffer.encode([(1, .fixed64(time))] + fields)
        let length = Self.bytes(of: UInt64(event.count))
        let record =
            length + Self.bytes(of: Self.maskedChecksum(length)) + event + Self.bytes(of: Self.maskedChecksum(event))
        try record.withUnsafeBytes { try AtomicFile.write($0, to: descriptor, of: path, at: nil) }
    }

    private static func bytes(of value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    /// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), rotated and shifted by a constant as TFRecord
    /// has it, so that a checksum of data that holds checksums is none the worse.
    package static func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
        let checksum = ~bytes.reduce(~UInt32(0)) { $0 >> 8 ^ table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] }
        return (checksum >> 15 | checksum << 17) &+ 0xa282_ead8
    }

    private static let table = (0..<UInt32(256)).map { byte in
        (0..<8).reduce(byte) { remainder, _ in remainder >> 1 ^ (remainder & 1 == 1 ? 0x82f6_3b78 : 0) }
    }
}
