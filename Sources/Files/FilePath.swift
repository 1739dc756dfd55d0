import Foundation

/// The folder that holds `path` ("." for a bare name) and the name in it. Trailing slashes do not count.
/// (Foundation's `deletingLastPathComponent` crashes on a path of one character; Swift 6.3, Linux.)
public func folderAndName(of path: String) -> (folder: String, name: String) {
    let path = path.withoutTrailingSlashes
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let folder = path[..<slash]
    return (folder.isEmpty ? "/" : String(folder), String(path[path.index(after: slash)...]))
}

public func path(of name: String, in folder: String) -> String {
    folder == "." ? name : folder.hasSuffix("/") ? folder + name : folder + "/" + name
}

/// `path` as seen from the current folder: "runs/a", "../data".
public func relativePath(_ path: String) -> String {
    guard path.hasPrefix("/") else { return path }
    let here = FileManager.default.currentDirectoryPath.split(separator: "/")
    let there = URL(filePath: path).standardizedFileURL.path.split(separator: "/")
    let common = zip(here, there).prefix { $0 == $1 }.count
    let parts = here.dropFirst(common).map { _ in ".." } + there.dropFirst(common).map(String.init)
    return parts.isEmpty ? "." : parts.joined(separator: "/")
}

/// `start` with the first number from 1 on after it that makes a name of nothing yet.
package func unusedPath(_ start: String) -> String {
    var number = 1
    while access("\(start)\(number)", F_OK) == 0 { number += 1 }
    return "\(start)\(number)"
}

extension String {
    package var withoutTrailingSlashes: String {
        var path = self[...]
        while path.count > 1, path.last == "/" { path.removeLast() }
        return String(path)
    }

    /// Without white space and line ends around it, as small files have.
    package var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
