/// As much of protocol buffers' wire format as SentencePiece's models and TensorBoard's events need: a
/// message is a list of fields, each a key (field number and wire type, a varint) and a value.
package enum ProtocolBuffer {
    package enum Value {
        /// Varint: integers, booleans, enumerations.
        case integer(UInt64)
        /// Strings, bytes, and messages in their turn.
        case bytes(ArraySlice<UInt8>)
        case fixed64(UInt64)
        case fixed32(UInt32)
    }

    /// The fields of a message in order, nil where the bytes are none.
    package static func fields(_ message: ArraySlice<UInt8>) -> [(number: Int, value: Value)]? {
        var rest = message
        var fields: [(number: Int, value: Value)] = []
        while !rest.isEmpty {
            guard let key = varint(&rest) else { return nil }
            let value: Value
            switch key & 7 {
            case 0:
                guard let integer = varint(&rest) else { return nil }
                value = .integer(integer)
            case 1:
                guard let bits = fixed(&rest, bytes: 8) else { return nil }
                value = .fixed64(bits)
            case 2:
                guard let count = varint(&rest), count <= UInt64(rest.count) else { return nil }
                value = .bytes(rest.prefix(Int(count)))
                rest = rest.dropFirst(Int(count))
            case 5:
                guard let bits = fixed(&rest, bytes: 4) else { return nil }
                value = .fixed32(UInt32(bits))
            default: return nil
            }
            fields.append((Int(key >> 3), value))
        }
        return fields
    }

    private static func varint(_ bytes: inout ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard let byte = bytes.popFirst() else { return nil }
            value |= UInt64(byte & 0x7f) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        return nil
    }

    private static func fixed(_ bytes: inout ArraySlice<UInt8>, bytes count: Int) -> UInt64? {
        guard bytes.count >= count else { return nil }
        defer { bytes = bytes.dropFirst(count) }
        return bytes.prefix(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    package static func encode(_ fields: [(number: Int, value: Value)]) -> [UInt8] {
        var bytes: [UInt8] = []
        func append(varint value: UInt64) {
            var value = value
            while value >= 0x80 {
                bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
                value >>= 7
            }
            bytes.append(UInt8(value))
        }
        for (number, value) in fields {
            let key = UInt64(number) << 3
            switch value {
            case .integer(let integer):
                append(varint: key)
                append(varint: integer)
            case .fixed64(let bits):
                append(varint: key | 1)
                withUnsafeBytes(of: bits.littleEndian) { bytes += $0 }
            case .bytes(let content):
                append(varint: key | 2)
                append(varint: UInt64(content.count))
                bytes += content
            case .fixed32(let bits):
                append(varint: key | 5)
                withUnsafeBytes(of: bits.littleEndian) { bytes += $0 }
            }
        }
        return bytes
    }
}
