import Foundation
import TensorCore

/// What the operating system grants this process (Linux).
public struct SystemLimits: Sendable {
    /// Cores that are switched on.
    public var onlineCores: Int
    /// Cores that the process may run on (`taskset`, a batch system, a container's cpuset).
    public var allowedCores: Int
    /// Cores' worth of time that the control group grants, nil where it does not limit it.
    public var coreQuota: Double?
    public var memoryTotal: Int
    public var memoryAvailable: Int
    /// The control group's limit in bytes, nil where there is none.
    public var memoryLimit: Int?

    public init(
        onlineCores: Int, allowedCores: Int, coreQuota: Double?, memoryTotal: Int, memoryAvailable: Int,
        memoryLimit: Int?
    ) {
        self.onlineCores = onlineCores
        self.allowedCores = allowedCores
        self.coreQuota = coreQuota
        self.memoryTotal = memoryTotal
        self.memoryAvailable = memoryAvailable
        self.memoryLimit = memoryLimit
    }

    /// Those of this process, now.
    public static var current: SystemLimits {
        let memory = memoryInfo(text("/proc/meminfo") ?? "")
        let groups = controlGroups(text("/proc/self/cgroup") ?? "")
        return SystemLimits(
            onlineCores: sysconf(Int32(_SC_NPROCESSORS_ONLN)), allowedCores: availableCoreCount,
            coreQuota: groups.compactMap(coreQuota).min(), memoryTotal: memory["MemTotal"] ?? 0,
            memoryAvailable: memory["MemAvailable"] ?? 0,
            memoryLimit: groups.compactMap(memoryLimit).min().flatMap { $0 < memory["MemTotal"] ?? 0 ? $0 : nil })
    }

    /// "MemTotal:  24684096 kB" lines, in bytes.
    package static func memoryInfo(_ text: String) -> [String: Int] {
        var bytes: [String: Int] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == ":" })
            if words.count >= 2, let count = Int(words[1]) { bytes[String(words[0])] = count * 1024 }
        }
        return bytes
    }

    /// The folders of the control groups that may limit this process: each group and those above it, in
    /// version 2 ("0::/user.slice/x") and version 1 ("4:memory:/x").
    package static func controlGroups(_ text: String) -> [String] {
        text.split(separator: "\n").flatMap { line -> [String] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            let controllers = fields[1].split(separator: ",")
            guard fields[1].isEmpty || controllers.contains("memory") || controllers.contains("cpu") else { return [] }
            let root = "/sys/fs/cgroup" + (fields[1].isEmpty ? "" : "/" + fields[1])
            var path = root
            return [root]
                + fields[2].split(separator: "/").map {
                    path += "/" + $0
                    return path
                }
        }
    }

    private static func coreQuota(_ group: String) -> Double? {
        if let words = text(group + "/cpu.max")?.split(whereSeparator: \.isWhitespace), words.count == 2 {
            return quota(String(words[0]), String(words[1]))
        }
        guard let quotaText = text(group + "/cpu.cfs_quota_us"), let period = text(group + "/cpu.cfs_period_us") else {
            return nil
        }
        return quota(quotaText.trimmed, period.trimmed)
    }

    /// Microseconds of time in a period: "max" and -1 mean no limit.
    private static func quota(_ time: String, _ period: String) -> Double? {
        guard let time = Double(time), let period = Double(period), time > 0, period > 0 else { return nil }
        return time / period
    }

    private static func memoryLimit(_ group: String) -> Int? {
        (text(group + "/memory.max") ?? text(group + "/memory.limit_in_bytes")).flatMap { Int($0.trimmed) }
    }

    private static func text(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
}
