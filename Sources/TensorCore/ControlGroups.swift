import Glibc

/// The control groups (container, batch job) that limit this process, by the kernel's files (Linux).
package struct ControlGroups {
    /// Each group and those above it, in version 2 ("0::/user.slice/x") and version 1 ("4:memory:/x").
    package let folders: [String]
    private let root: String

    /// `root` stands before the kernel's paths.
    package init(root: String = "") {
        self.root = root
        folders = Self.folders(kernelText(root + "/proc/self/cgroup") ?? "")
    }

    package static func folders(_ text: String) -> [String] {
        text.split(separator: "\n").flatMap { line -> [String] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            let controllers = fields[1].split(separator: ",")
            guard fields[1].isEmpty || controllers.contains("memory") || controllers.contains("cpu") else { return [] }
            var path = "/sys/fs/cgroup" + (fields[1].isEmpty ? "" : "/" + fields[1])
            return [path]
                + fields[2].split(separator: "/").map {
                    path += "/" + $0
                    return path
                }
        }
    }

    /// Cores' worth of time that the tightest of them grants; nil: no limit.
    package var coreQuota: Double? {
        folders.compactMap { folder in
            // The names of version 2, then of version 1. "max" and -1 mean no limit.
            let words =
                kernelText(root + folder + "/cpu.max")?.split(whereSeparator: \.isWhitespace).map(String.init)
                ?? ["cpu.cfs_quota_us", "cpu.cfs_period_us"].compactMap {
                    kernelText(root + folder + "/" + $0)?.split(whereSeparator: \.isWhitespace).first.map(String.init)
                }
            guard words.count == 2, let time = Double(words[0]), let period = Double(words[1]), time > 0, period > 0
            else { return nil }
            return time / period
        }.min()
    }
}

/// What a file of the kernel's says; nil where there is none. (Such files have no size, and Foundation reads one page.)
package func kernelText(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { bytes += buffer[..<count] }
    return String(decoding: bytes, as: UTF8.self)
}
