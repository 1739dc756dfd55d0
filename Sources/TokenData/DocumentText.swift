import Files

/// A record whose text cannot be had: a malformed JSON line, or bytes that are not UTF-8.
struct BadDocument: Error {
    let record: DocumentRecord
    let reason: String

    var isLine: Bool { record.kind == .jsonLine }
    var place: String { isLine ? "\(record.path):\(record.line)" : record.path }
}

extension DocumentRecord {
    func text(in batch: UnsafeRawBufferPointer) -> Result<String, BadDocument> {
        let bytes = UnsafeRawBufferPointer(rebasing: batch[range])
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let offset = Self.firstInvalidUTF8(bytes)
            let place = kind == .jsonLine ? "column \(offset + 1)" : "byte \(self.offset + offset)"
            let value = String(bytes[offset], radix: 16, uppercase: true)
            return .failure(BadDocument(record: self, reason: "invalid UTF-8 at \(place) (byte 0x\(value))"))
        }
        if kind != .jsonLine { return .success(text) }
        func bad(_ reason: String) -> Result<String, BadDocument> {
            .failure(BadDocument(record: self, reason: reason))
        }
        do {
            guard case .object(let members) = try JSONValue(json: bytes) else { return bad("not a JSON object") }
            switch members["text"] {
            case .string(let text)?: return .success(text)
            case .null?: return bad("`text` is null")
            case nil: return bad("the object has no `text`")
            default: return bad("`text` is not a string")
            }
        } catch {
            return bad("malformed JSON: column \(error.offset + 1): \(error.problem)")
        }
    }

    /// The position of the first byte that no UTF-8 text can have there.
    static func firstInvalidUTF8(_ bytes: UnsafeRawBufferPointer) -> Int {
        var parser = Unicode.UTF8.ForwardParser()
        var iterator = bytes.makeIterator()
        var offset = 0
        while case .valid(let scalar) = parser.parseScalar(from: &iterator) { offset += scalar.count }
        return min(offset, bytes.count - 1)
    }
}
