import Console
import Files
import Foundation

/// What a run says: on the terminal, above the status line, and with the time in `train.log`.
public final class RunLog {
    public let status: StatusLine
    private let file: GrowingFile

    public init(path: String, status: StatusLine) throws {
        self.status = status
        file = try GrowingFile(path)
    }

    /// Prints on the terminal and writes to the file; results go to the standard output.
    public func print(_ text: String, isResult: Bool = false) throws {
        status.print(text, isResult: isResult)
        try record(text)
    }

    /// Writes to the file alone.
    public func record(_ text: String) throws {
        let time = Date.now.ISO8601Format()
        for line in text.printable.split(separator: "\n") {
            try file.write("\(time)  \(line)\n")
        }
    }
}
