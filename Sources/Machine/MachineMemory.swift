import Foundation
import TensorCore

/// The memory that this machine, or the control group (container, batch job) that the process runs in,
/// has and can give.
public struct MachineMemory: Codable, Equatable, Sendable {
    /// The most that the process could ever have, in bytes: the machine's memory and swap, or the
    /// group's limit.
    public var limit: Int
    /// What a new process could take now without pushing others out.
    public var available: Int
    public var isLimitedByGroup: Bool

    package var owner: String {
        isLimitedByGroup ? "the limit of this control group" : "this machine's memory and swap"
    }

    public init(limit: Int, available: Int, isLimitedByGroup: Bool = false) {
        (self.limit, self.available, self.isLimitedByGroup) = (limit, available, isLimitedByGroup)
    }

    /// This process's, now; nil where the kernel does not say.
    public static var current: MachineMemory? { MachineMemory(root: "") }

    /// Reads the kernel's files; `root` stands before their paths.
    package init?(root: String) {
        func number(_ path: String) -> Int? {
            kernelText(root + path).flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
        }
        let info = Self.memoryInfo(kernelText(root + "/proc/meminfo") ?? "")
        guard let total = info["MemTotal"], let available = info["MemAvailable"] else { return nil }
        self.init(limit: total + (info["SwapTotal"] ?? 0), available: available)
        for group in ControlGroups(root: root).folders {
            // The names of version 2, then of version 1. "max" means no limit.
            guard let most = number(group + "/memory.max") ?? number(group + "/memory.limit_in_bytes"),
                let used = number(group + "/memory.current") ?? number(group + "/memory.usage_in_bytes")
            else { continue }
            // Cached files count as used, but give way.
            let lines = (kernelText(root + group + "/memory.stat") ?? "").split(separator: "\n")
                .map { $0.split(separator: " ") }
            let cached = ["total_inactive_file", "inactive_file"].compactMap { key in
                lines.first { $0.count == 2 && $0[0] == key }.flatMap { Int($0[1]) }
            }
            restrict(to: most, available: max(0, most - max(0, used - (cached.first ?? 0))))
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

    mutating func restrict(to most: Int, available: Int) {
        self.available = min(self.available, available)
        if most < limit { (limit, isLimitedByGroup) = (most, true) }
    }
}

public func residentBytes() -> Int {
    let words = (kernelText("/proc/self/statm") ?? "").split(separator: " ")
    return words.count > 1 ? (Int(words[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
}

/// The largest resident memory of this process so far, in bytes; 0 if the system does not say.
///
/// From /proc: getrusage's figure begins with the memory of the process that started this one.
public func peakResidentBytes() -> Int {
    let kibibytes = processStatus("VmHWM").flatMap { $0.split(separator: " ").first }.flatMap { Int($0) }
    return 1024 * (kibibytes ?? 0)
}

/// What the kernel says of this process under that name.
func processStatus(_ name: String) -> String? {
    let line = kernelText("/proc/self/status")?.split(separator: "\n").first { $0.hasPrefix(name + ":") }
    return line.map { String($0.dropFirst(name.count + 1)).trimmed }
}
