import Foundation

/// Begins a line of the shell whose program may write files of so many blocks at most: a limit that stands in for a
/// full disk. Where there is a folder for temporary files, ThreadSanitizer writes one (`tsan.rodata.*`, half a megabyte)
/// before the program begins, and ends by SIGXFSZ.
public func limitingFiles(to blocks: Int) -> String { "ulimit -f \(blocks); export TMPDIR=/nonexistent; " }

/// The program as it was built beside the running tests.
public let program: String = {
    let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(filePath: tests ?? CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "cosmos-train").path
}()
