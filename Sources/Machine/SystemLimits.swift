import Files
import Foundation
import TensorCore

/// What the operating system and the control groups (container, batch job) grant this process (Linux).
public struct SystemLimits: Sendable {
    /// Cores that are switched on.
    public var onlineCores: Int
    /// Cores that the process may run on (`taskset`, a batch system, a container's cpuset).
    public var allowedCores: Int
    /// Cores' worth of time that the control group grants, nil where it does not limit it.
    public var coreQuota: Double?
    /// nil where the kernel does not say.
    public var memory: MachineMemory?

    public init(onlineCores: Int, allowedCores: Int, coreQuota: Double?, memory: MachineMemory?) {
        (self.onlineCores, self.allowedCores) = (onlineCores, allowedCores)
        (self.coreQuota, self.memory) = (coreQuota, memory)
    }

    /// Reads the kernel's files; `root` stands before their paths.
    public init(root: String = "") {
        func text(_ path: String) -> String? { try? String(contentsOfFile: root + path, encoding: .utf8) }
        func number(_ path: String) -> Int? { text(path).flatMap { Int($0.trimmed) } }
        onlineCores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        allowedCores = availableCoreCount
        let info = Self.memoryInfo(text("/proc/meminfo") ?? "")
        if let total = info["MemTotal"], let available = info["MemAvailable"] {
            memory = MachineMemory(limit: total + (info["SwapTotal"] ?? 0), available: available)
        }
        for group in Self.controlGroups(text("/proc/self/cgroup") ?? "") {
            // The names of version 2, then of version 1. "max" and -1 mean no limit.
            let quota =
                text(group + "/cpu.max")?.split(whereSeparator: \.isWhitespace).map { Double($0) }
                ?? [number(group + "/cpu.cfs_quota_us"), number(group + "/cpu.cfs_period_us")].map {
                    $0.map(Double.init)
                }
            if quota.count == 2, let time = quota[0], let period = quota[1], time > 0, period > 0 {
                coreQuota = min(coreQuota ?? .infinity, time / period)
            }
            guard let most = number(group + "/memory.max") ?? number(group + "/memory.limit_in_bytes"),
                let used = number(group + "/memory.current") ?? number(group + "/memory.usage_in_bytes")
            else { continue }
            // Cached files count as used, but give way.
            let lines = (text(group + "/memory.stat") ?? "").split(separator: "\n").map { $0.split(separator: " ") }
            let cached = ["total_inactive_file", "inactive_file"].compactMap { key in
                lines.first { $0.count == 2 && $0[0] == key }.flatMap { Int($0[1]) }
            }
            memory?.restrict(to: most, available: max(0, most - max(0, used - (cached.first ?? 0))))
        }
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
}
