import Console
import Files
import Foundation

/// What a run says: on the terminal, above the status line, and with the time in `train.log`.
public final class RunLog {
    public let status: StatusLine
    private let path: String
    private let descriptor: Int32

    public init(path: String, status: StatusLine) throws {
        self.path = path
        self.status = status
        descriptor = try openOwnFile(path, O_WRONLY | O_APPEND)
    }

    deinit { close(descriptor) }

    /// Prints on the terminal and writes to the file.
    public func print(_ text: String) throws {
        status.print(text)
        try record(text)
    }

    /// Writes to the file alone.
    public func record(_ text: String) throws {
        let time = Date.now.ISO8601Format()
        for line in text.printable.split(separator: "\n") {
            var line = "\(time)  \(line)\n"
            try line.withUTF8 {
                try AtomicFile.write(UnsafeRawBufferPointer($0), to: descriptor, of: path, at: nil)
            }
        }
    }
}
