import Foundation
import Glibc

/// A web server on 127.0.0.1 for one test: serves bytes from memory, understands `Range`, and can
/// misbehave as servers and networks do.
final class LocalServer: @unchecked Sendable {
    struct File {
        var body: Data
        /// The size that HEAD announces, if not the body's.
        var announcedSize: Int?
        /// The connection is cut after so many bytes of the body: the first number for the first GET, and so on.
        var cuts: [Int] = []
        var understandsRanges = true
    }

    let port: UInt16
    private let listener: Int32
    private let lock = NSLock()
    private var files: [String: File]
    private var log: [String] = []

    /// The requests so far: method, path, and the range if one was asked for ("GET /a bytes=5-").
    var requests: [String] { lock.withLock { log } }
    var address: String { "http://127.0.0.1:\(port)" }

    /// Serves `files`, by path ("/a"), until `stop` is called.
    init(_ files: [String: File]) throws {
        self.files = files
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let failed = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, size) != 0 || listen(listener, 8) != 0 || getsockname(listener, $0, &size) != 0
            }
        }
        guard listener >= 0, !failed else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in
            while case let connection = accept(listener, nil, nil), connection >= 0 {
                answer(connection)
                close(connection)
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    private func answer(_ connection: Int32) {
        var request = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while !request.contains("\r\n\r\n") {
            let count = read(connection, &buffer, buffer.count)
            guard count > 0 else { return }
            request += String(decoding: buffer[..<count], as: UTF8.self)
        }
        let lines = request.components(separatedBy: "\r\n")
        let words = lines[0].split(separator: " ").map(String.init)
        let range = lines.first { $0.lowercased().hasPrefix("range: ") }.map { String($0.dropFirst(7)) }
        guard words.count == 3 else { return }
        let (file, cut) = lock.withLock { () -> (File?, Int?) in
            log.append(([words[0], words[1]] + (range.map { [$0] } ?? [])).joined(separator: " "))
            let cuts = words[0] == "GET" && files[words[1]]?.cuts.isEmpty == false
            return (files[words[1]], cuts ? files[words[1]]?.cuts.removeFirst() : nil)
        }
        guard let file else { return send("404 Not Found", [], Data(), to: connection) }
        if words[0] == "HEAD" {
            return send("200 OK", ["Content-Length: \(file.announcedSize ?? file.body.count)"], Data(), to: connection)
        }
        var (status, start) = ("200 OK", 0)
        if file.understandsRanges, let digits = range?.split(whereSeparator: { !$0.isNumber }).first {
            start = Int(digits) ?? 0
            guard start < file.body.count else { return send("416 Range Not Satisfiable", [], Data(), to: connection) }
            status = "206 Partial Content"
        }
        let body = file.body[start...]
        let ranges = "Content-Range: bytes \(start)-\(file.body.count - 1)/\(file.body.count)"
        let headers = ["Content-Length: \(body.count)"] + (start > 0 ? [ranges] : [])
        send(status, headers, body.prefix(cut ?? body.count), to: connection)
    }

    private func send(_ status: String, _ headers: [String], _ body: Data, to connection: Int32) {
        let head = (["HTTP/1.1 \(status)", "Connection: close"] + headers + ["", ""]).joined(separator: "\r\n")
        var rest = Data(head.utf8) + body
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
