import Checkpoints
import Console
import Files
import Foundation
import TokenData

/// The log's columns as scalars for TensorBoard, and the run's settings for its table of hyperparameters: an event file
/// in the run's folder, one a session.
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
    private let file: GrowingFile

    /// A new file in `folder` for a session whose first step is `firstStep`.
    package init(folder: String, firstStep: Int, settings: [(key: String, value: String)] = []) throws {
        let earlier = ((try? folderContents(folder)) ?? []).compactMap { name in
            name.hasPrefix(Self.prefix) ? Int(name.dropFirst(Self.prefix.count).prefix { $0.isNumber }) : nil
        }
        // TensorBoard reads the files in the order of their names.
        let seconds = max(Int(Date.now.timeIntervalSince1970), (earlier.filter { $0 < 1 << 40 }.max() ?? 0) + 1)
        file = try GrowingFile(
            "\(folder)/\(Self.prefix)\(seconds).\(ProcessInfo.processInfo.hostName).\(getpid())", O_EXCL)
        try write([(3, .text("brain.Event:2"))])
        let start: UInt64 = 1
        try write([(2, .integer(UInt64(firstStep))), (7, message([(1, .integer(start))]))])
        if !settings.isEmpty { try write([(5, Self.hyperparameters(settings))]) }
    }

    /// Appends the values of a row under the names of the log's columns, in groups.
    package func append(_ row: LogRow) throws {
        // Summary: value = 1, of which tag = 1, simple_value = 2 (a float).
        let values = zip(LogRow.columns, row.fields).dropFirst()
        let summary = values.compactMap { column, text in
            Float(text).map { value in
                (1, message([(1, .text(Self.group(of: column) + "/" + column)), (2, .fixed32(value.bitPattern))]))
            }
        }
        try write([(2, .integer(UInt64(row.step))), (5, message(summary))])
    }

    /// A page of TensorBoard shows each group by itself.
    private static func group(of column: String) -> String {
        switch column {
        case "train_loss", "validation_loss", "validation_perplexity": "loss"
        case "learning_rate", "gradient_norm", "tokens": "training"
        case "step_seconds", "tokens_per_second", "flops_per_second", "mfu": "speed"
        case "peak_rss_bytes": "memory"
        default: "seconds"
        }
    }

    /// A summary without a number whose metadata are those of the plugin: metadata = 9, of which plugin_data = 1, of
    /// which plugin_name = 1 and content = 2; there session_start_info = 3, of which hparams = 1, a map to Values
    /// (struct.proto) with number_value = 2 and string_value = 3.
    private static func hyperparameters(_ settings: [(key: String, value: String)]) -> ProtocolBuffer.Value {
        let entries = settings.map { key, value -> (Int, ProtocolBuffer.Value) in
            let typed: (Int, ProtocolBuffer.Value) =
                Double(value).map { (2, .fixed64($0.bitPattern)) } ?? (3, .text(value))
            return (1, message([(1, .text(key)), (2, message([typed]))]))
        }
        let metadata = message([(1, message([(1, .text("hparams")), (2, message([(3, message(entries))]))]))])
        return message([(1, message([(1, .text("_hparams_/session_start_info")), (9, metadata)]))])
    }

    /// Writes one event, with the time.
    private func write(_ fields: [(Int, ProtocolBuffer.Value)]) throws {
        let time = Date.now.timeIntervalSince1970.bitPattern
        let event = ProtocolBuffer.encode([(1, .fixed64(time))] + fields)
        let length = Self.bytes(of: UInt64(event.count))
        let record =
            length + Self.bytes(of: Self.maskedChecksum(length)) + event + Self.bytes(of: Self.maskedChecksum(event))
        try file.write(record)
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

private func message(_ fields: [(Int, ProtocolBuffer.Value)]) -> ProtocolBuffer.Value {
    .bytes(ProtocolBuffer.encode(fields)[...])
}

extension ProtocolBuffer.Value {
    fileprivate static func text(_ text: String) -> Self { .bytes(Array(text.utf8)[...]) }
}
