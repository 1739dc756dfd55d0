import Configuration
import Foundation

/// A record whose text cannot be had: a malformed JSON line, or bytes that are not UTF-8.
struct BadDocument: Error {
    let record: DocumentRecord
    let reason: String

    var isLine: Bool { record.kind == .jsonLine }
    var place: String { isLine ? "\(record.path):\(record.line)" : record.path }
}

/// Takes the text out of records. One decoder serves one thread.
struct DocumentParser {
    private struct Line: Decodable { let text: String }
    private let decoder = JSONDecoder()

    /// The text of `record`, which lies in `batch`.
    func text(of record: DocumentRecord, in batch: UnsafeRawBufferPointer) -> Result<String, BadDocument> {
        let bytes = UnsafeRawBufferPointer(rebasing: batch[record.range])
        guard let base = bytes.baseAddress else { return .success("") }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let offset = Self.firstInvalidUTF8(bytes)
            let place = record.kind == .jsonLine ? "column \(offset + 1)" : "byte \(record.offset + offset)"
            let value = String(bytes[offset], radix: 16, uppercase: true)
            return .failure(BadDocument(record: record, reason: "invalid UTF-8 at \(place) (byte 0x\(value))"))
        }
        if record.kind != .jsonLine { return .success(text) }
        let data = Data(
            bytesNoCopy: UnsafeMutableRawPointer(mutating: base), count: bytes.count, deallocator: .none)
        do {
            return .success(try decoder.decode(Line.self, from: data).text)
        } catch {
            return .failure(BadDocument(record: record, reason: Self.reason(error)))
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case DecodingError.keyNotFound: "the object has no `text`"
        case DecodingError.typeMismatch(_, let context) where context.codingPath.isEmpty: "not a JSON object"
        case DecodingError.typeMismatch: "`text` is not a string"
        case DecodingError.valueNotFound: "`text` is null"
        case DecodingError.dataCorrupted(let context):
            "malformed JSON: "
                + ((context.underlyingError as NSError?)?.userInfo["NSDebugDescription"] as? String
                    ?? context.debugDescription)
        default: "malformed JSON: \(error)"
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
