import Console
import Glibc

package enum FileBytes {
    package static func size(of path: String) throws -> Int {
        var status = stat()
        if stat(path, &status) != 0 { throw UserError.system("open", path, code: errno) }
        return Int(status.st_size)
    }

    /// The bytes that may still be written where a folder lies.
    package static func freeSpace(in folder: String) throws -> Int {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { throw UserError.system("look at", folder, code: errno) }
        return Int(clamping: UInt64(status.f_bavail) &* UInt64(status.f_frsize))
    }
}
