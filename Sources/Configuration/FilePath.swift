/// The folder that holds `path` ("." for a bare name) and the name in it. Trailing slashes do not count.
/// (Foundation's `deletingLastPathComponent` crashes on a path of one character; Swift 6.3, Linux.)
public func folderAndName(of path: String) -> (folder: String, name: String) {
    var path = path[...]
    while path.count > 1, path.last == "/" { path.removeLast() }
    guard let slash = path.lastIndex(of: "/") else { return (".", String(path)) }
    let folder = path[..<slash]
    return (folder.isEmpty ? "/" : String(folder), String(path[path.index(after: slash)...]))
}

/// `name` in `folder`.
public func path(of name: String, in folder: String) -> String {
    folder == "." ? name : folder.hasSuffix("/") ? folder + name : folder + "/" + name
}
