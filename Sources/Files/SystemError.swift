import Console
import Glibc

extension UserError {
    /// The failure of a system call on a file: "cannot write runs/a/log.csv: No space left on device",
    /// with the remedy where there is a usual one. Pass `errno` at once, before another call sets it.
    public static func system(_ action: String, _ path: String, code: Int32) -> UserError {
        if path.isEmpty {
            return UserError(
                .usage, "cannot \(action) \"\": the name is empty",
                hint: "give one; a variable of the shell that is not set gives none")
        }
        return UserError(
            .inputOutput, "cannot \(action) \(path): \(String(cString: strerror(code)))", hint: remedy(code, path))
    }

    private static func remedy(_ code: Int32, _ path: String) -> String? {
        let place = folderAndName(of: path).folder
        switch code {
        case ENOSPC, EDQUOT: return "free some space where \(place) lies (see `df -h \(place)`), or write elsewhere"
        case EACCES, EPERM: return "see who may use it with `ls -ld \(place) \(path)`, or choose another place"
        case EROFS: return "\(place) lies on a read-only file system: choose another place"
        case ENOENT: return missing(path, in: place)
        case ENOTDIR: return "a part of the path is a file, not a folder"
        case EEXIST, ENOTEMPTY: return "something of that name is already there: choose another name"
        case ELOOP: return "a link leads back to itself: see `ls -l \(path)`"
        case ENAMETOOLONG: return "choose a shorter name"
        case EISDIR: return "\(path) is a folder; a file was expected"
        case EMFILE, ENFILE: return "too many files are open: raise the limit with `ulimit -n`"
        case EFBIG: return "the file system, or `ulimit -f`, does not allow a file of this size"
        default: return nil
        }
    }

    /// Where the data comes from that the files in configs/ name.
    private static let origins = [
        "data/quickstart": "scripts/quickstart.sh makes it",
        "data/c4": "README.md says how to make it: Training on C4",
    ]

    private static func missing(_ path: String, in folder: String) -> String {
        guard access(folder, F_OK) == 0 else {
            return origins[folder] ?? "the folder \(folder) does not exist: create it, or check the path"
        }
        let name = folderAndName(of: path).name
        if fileType(path, followingLinks: false) != nil { return "it is a link to something that does not exist" }
        if let near = closestMatch(to: name, in: (try? folderContents(folder)) ?? []) { return "did you mean \(near)?" }
        return "check the path"
    }
}
