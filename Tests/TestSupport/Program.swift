import Foundation

/// The program as it was built beside the running tests.
public let program: String = {
    let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(filePath: tests ?? CommandLine.arguments[0]).deletingLastPathComponent()
        .appending(path: "cosmos-train").path
}()
