import Foundation

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
    public static var current: MachineMemory? { SystemLimits().memory }

    mutating func restrict(to most: Int, available: Int) {
        self.available = min(self.available, available)
        if most < limit { (limit, isLimitedByGroup) = (most, true) }
    }
}

public func residentBytes() -> Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let words = text.split(separator: " ")
    return words.count > 1 ? (Int(words[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
}

/// The largest resident memory of this process so far, in bytes; 0 if the system does not say.
///
/// From /proc: getrusage's figure begins with the memory of the process that started this one.
public func peakResidentBytes() -> Int {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
        let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
        let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
    else { return 0 }
    return kibibytes * 1024
}
