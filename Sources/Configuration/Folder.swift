import Glibc

/// Makes a folder, and those above it that are missing. One that is there already is fine.
public func makeFolder(_ path: String) throws {
    if isFolder(path) { return }
    var failure: Int32 = mkdir(path, 0o777) == 0 ? 0 : errno
    let parent = folderAndName(of: path).folder
    if failure == ENOENT, !isFolder(parent) {
        try makeFolder(parent)
        failure = mkdir(path, 0o777) == 0 ? 0 : errno
    }
    // Another process may have made it meanwhile.
    if failure != 0, !isFolder(path) { throw UserError.system("create the folder", path, code: failure) }
}

/// The names in a folder, in no order.
public func folderContents(_ path: String) throws -> [String] {
    guard let stream = opendir(path) else { throw UserError.system("read", path, code: errno) }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
        errno = 0
        guard let entry = readdir(stream) else {
            if errno != 0 { throw UserError.system("read", path, code: errno) }
            return names
        }
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
            String(cString: $0.baseAddress!.assumingMemoryBound(to: CChar.self))
        }
        if name != ".", name != ".." { names.append(name) }
    }
}

/// Whether `path` is a folder, or leads to one.
public func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}
