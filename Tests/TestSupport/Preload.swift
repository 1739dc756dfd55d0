import Foundation

/// Compiles C that takes the place of functions of the C library, in `folder`; the environment in which a command
/// that is started uses it.
public func preload(_ source: String, in folder: URL) throws -> [String: String] {
    let (code, library) = (folder.appending(path: "preload.c"), folder.appending(path: "preload.so"))
    let text = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <errno.h>\n" + source
    try Data(text.utf8).write(to: code)
    let compiler = try run("cc", ["-shared", "-fPIC", "-o", library.path, code.path, "-ldl"])
    guard compiler.status == 0 else { throw PreloadFailure(message: compiler.errorOutput) }
    // After what these tests themselves are run with.
    let others = ProcessInfo.processInfo.environment["LD_PRELOAD"].map { [$0] } ?? []
    return ["LD_PRELOAD": (others + [library.path]).joined(separator: ":")]
}

public struct PreloadFailure: Error {
    let message: String
}
