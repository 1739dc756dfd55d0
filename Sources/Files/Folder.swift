import Console
import Glibc

/// Makes a folder, and those above it that are missing. One that is there already is fine; the result says
/// whether this call made it.
@discardableResult
public func makeFolder(_ path: String) throws -> Bool {
    if isFolder(path) { return false }
    var failure: Int32 = mkdir(path, 0o777) == 0 ? 0 : errno
    let parent = folderAndName(of: path).folder
    if failure == ENOENT, !isFolder(parent) {
        try makeFolder(parent)
        failure = mkdir(path, 0o777) == 0 ? 0 : errno
    }
    // Another process may have made it meanwhile.
    if failure != 0, !isFolder(path) { throw UserError.system("create the folder", path, code: failure) }
    return failure == 0
}

/// Makes the folder `path` in a folder of our own, where a symbolic link in its place would lead our files elsewhere.
package func makeOwnFolder(_ path: String) throws {
    try makeFolder(path)
    if fileType(path, followingLinks: false) == S_IFLNK { throw linkInPlace(of: path) }
}

/// Opens a file of our own for writing, and creates it where it is missing. What is there and no regular file, such
/// as a symbolic link that somebody put in its place, is refused. `flags` are those of open(2).
package func openOwnFile(_ path: String, _ flags: Int32) throws -> Int32 {
    // Without O_NONBLOCK a pipe would wait for its reader.
    let descriptor = open(path, flags | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o666)
    if descriptor < 0 { throw errno == ELOOP ? linkInPlace(of: path) : UserError.system("write", path, code: errno) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
        close(descriptor)
        throw UserError(.inputOutput, "cannot write \(path): it is no regular file", hint: "remove it")
    }
    return descriptor
}

private func linkInPlace(of path: String) -> UserError {
    UserError(
        .inputOutput, "cannot write \(path): it is a symbolic link, which might lead anywhere",
        hint: "remove the link, or choose another folder")
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
public func isFolder(_ path: String) -> Bool { fileType(path) == S_IFDIR }

/// What is at a path, S_IFREG or another; nil, with `errno`, where nothing is.
package func fileType(_ path: String, followingLinks: Bool = true) -> mode_t? {
    var status = stat()
    let isThere = (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0
    return isThere ? status.st_mode & S_IFMT : nil
}

/// The bytes that may still be written where a folder lies.
package func freeSpace(in folder: String) throws -> Int {
    var status = statvfs()
    guard statvfs(folder, &status) == 0 else { throw UserError.system("look at", folder, code: errno) }
    return Int(clamping: UInt64(status.f_bavail) &* UInt64(status.f_frsize))
}
