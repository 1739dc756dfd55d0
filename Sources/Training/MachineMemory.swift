import Foundation

/// The memory that this machine, or the control group (container, batch job) that the process runs in,
/// has and can give.
public struct MachineMemory: Codable, Equatable, Sendable {
    /// The most that the process could ever have, in bytes: the machine's memory and swap, or the
    /// group's limit.
    public var limit: Int
    /// What a new process could take now without pushing others out.
    public var available: Int
    /// Whether a control group sets the limit.
    public var isLimitedByGroup: Bool

    /// Whose limit it is, for messages.
    var owner: String { isLimitedByGroup ? "the limit of this control group" : "this machine's memory and swap" }

    public init(limit: Int, available: Int, isLimitedByGroup: Bool = false) {
        (self.limit, self.available, self.isLimitedByGroup) = (limit, available, isLimitedByGroup)
    }

    /// Reads the kernel's files; `root` stands before their paths. nil where there are none.
    public init?(root: String = "") {
        func text(_ path: String) -> String? { try? String(contentsOfFile: root + path, encoding: .utf8) }
        func number(_ path: String) -> Int? {
            text(path).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
        let info = SystemLimits.memoryInfo(text("/proc/meminfo") ?? "")
        guard let total = info["MemTotal"], let available = info["MemAvailable"] else { return nil }
        limit = total + (info["SwapTotal"] ?? 0)
        self.available = available
        isLimitedByGroup = false
        // The names of version 2, then of version 1. "max", for no limit, is no number.
        for group in SystemLimits.controlGroups(text("/proc/self/cgroup") ?? "") {
            guard let most = number(group + "/memory.max") ?? number(group + "/memory.limit_in_bytes"),
                let used = number(group + "/memory.current") ?? number(group + "/memory.usage_in_bytes")
            else { continue }
            // Cached files count as used, but give way.
            let lines = (text(group + "/memory.stat") ?? "").split(separator: "\n").map { $0.split(separator: " ") }
            let cached = ["total_inactive_file", "inactive_file"].compactMap { key in
                lines.first { $0.count == 2 && $0[0] == key }.flatMap { Int($0[1]) }
            }
            self.available = min(self.available, max(0, most - max(0, used - (cached.first ?? 0))))
            if most < limit { (limit, isLimitedByGroup) = (most, true) }
        }
    }
}

/// The resident memory of this process now, in bytes.
public func residentBytes() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let words = text.split(separator: " ")
    return words.count > 1 ? (Int(words[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
}
