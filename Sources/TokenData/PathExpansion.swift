import Console
import Files
import Glibc

/// The files that `path` stands for, sorted by name: a file itself; a folder's files whose names end
/// in one of `endings`; or those that match a glob (`*`, `?`, `[...]`), whatever their ending.
func expandPath(_ path: String, endings: [String], what: String) throws -> [String] {
    if let type = fileType(path) {
        guard type == S_IFDIR else { return [path] }
        let names = try folderContents(path)
        let files = names.filter { name in !name.hasPrefix(".") && endings.contains { name.hasSuffix($0) } }
        if files.isEmpty {
            throw UserError(
                .data, "the folder \(path) holds no \(what) (\(endings.joined(separator: ", ")))",
                hint: names.isEmpty
                    ? "the folder is empty" : importHint(names) ?? "its files end otherwise: name them, or use a glob")
        }
        return files.sorted().map { Files.path(of: $0, in: path) }
    }
    let code = errno
    guard path.contains(where: { "*?[".contains($0) }) else { throw UserError.system("open", path, code: code) }
    var matches = glob_t()
    defer { globfree(&matches) }
    var files: [String] = []
    if glob(path, 0, nil, &matches) == 0 {
        files = (0..<Int(matches.gl_pathc)).compactMap { matches.gl_pathv[$0].map { String(cString: $0) } }
    }
    if files.isEmpty {
        throw UserError(
            .inputOutput, "no file matches \(path)",
            hint: "check with `ls \(path)`; quote a glob so that the shell leaves it alone")
    }
    return files.sorted()
}

/// How to bring files of other tools in; nil where none of these files is of a kind that can be.
func importHint(_ names: [String]) -> String? {
    names.contains { name in [".parquet", ".bin", ".npy"].contains { name.hasSuffix($0) } }
        ? "scripts/import_data.py turns Parquet into JSON lines, and tokens of other tools into shards" : nil
}
