import Foundation
import Machine
import TestSupport
import Testing

/// What the kernel's files say, in every arrangement of control groups.
@Suite struct MachineMemoryTests {
    private static let meminfo = "MemTotal:  16384 kB\nMemFree: 1000 kB\nMemAvailable:  8192 kB\nSwapTotal: 1024 kB\n"

    /// Reads a root that has these files.
    private func memory(_ files: [String: String]) throws -> MachineMemory? {
        try withFiles(files) { MachineMemory(root: $0.path) }
    }

    @Test func withoutGroupsTheMachineIsTheLimit() throws {
        let memory = try #require(try memory(["proc/meminfo": Self.meminfo]))
        #expect(memory.limit == (16384 + 1024) << 10)
        #expect(memory.available == 8192 << 10)
        #expect(!memory.isLimitedByGroup)
    }

    @Test func theTightestGroupAboveTheProcessCounts() throws {
        let memory = try #require(
            try memory([
                "proc/meminfo": Self.meminfo, "proc/self/cgroup": "0::/batch/job\n",
                "sys/fs/cgroup/batch/job/memory.max": "max\n", "sys/fs/cgroup/batch/job/memory.current": "5\n",
                "sys/fs/cgroup/batch/memory.max": "4000000\n", "sys/fs/cgroup/batch/memory.current": "3000000\n",
                "sys/fs/cgroup/batch/memory.stat": "anon 900000\ninactive_file 2000000\n",
            ]))
        #expect(memory == MachineMemory(limit: 4_000_000, available: 3_000_000, isLimitedByGroup: true))
    }

    @Test func versionOneGroups() throws {
        let memory = try #require(
            try memory([
                "proc/meminfo": Self.meminfo, "proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/other\n0::/\n",
                "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000000",
                "sys/fs/cgroup/memory/job/memory.usage_in_bytes": "500000",
                "sys/fs/cgroup/memory/job/memory.stat": "total_inactive_file 100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "800000",
            ]))
        #expect(memory == MachineMemory(limit: 2_000_000, available: 1_600_000, isLimitedByGroup: true))
    }

    @Test func withoutTheKernelsFilesNothingIsClaimed() throws { #expect(try memory([:]) == nil) }
}
