import Glibc

/// Writes all of `bytes`, appending or at an offset; the system's error number, 0 for none.
package func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, at offset: Int?) -> Int32 {
    var done = 0
    while done < bytes.count {
        // Linux moves at most 2 GiB a call.
        let rest = UnsafeRawBufferPointer(rebasing: bytes[done..<min(bytes.count, done + 1 << 30)])
        let written =
            if let offset { pwrite(descriptor, rest.baseAddress, rest.count, offset + done) } else {
                Glibc.write(descriptor, rest.baseAddress, rest.count)
            }
        if written < 0 {
            if errno == EINTR { continue }
            return errno
        }
        done += written
    }
    return 0
}

package func writeAll(_ text: String, to descriptor: Int32) -> Int32 {
    var text = text
    return text.withUTF8 { writeAll(UnsafeRawBufferPointer($0), to: descriptor, at: nil) }
}

/// Prints what is not a command's result.
public func printToStandardError(_ line: String) {
    // There is nowhere left to report an error.
    _ = writeAll(line.printable + "\n", to: STDERR_FILENO)
}
