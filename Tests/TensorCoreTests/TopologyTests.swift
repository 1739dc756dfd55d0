import Foundation
import TensorCore
import TestSupport
import Testing

@Suite struct TopologyTests {
    /// Machines that hwloc makes up.
    @Test func physicalCoresAreCounted() {
        let server = Topology(description: "pack:2 [numa] core:4 pu:2", coreQuota: nil)
        #expect(server.cores.count == 8 && server.workerCount == 8)
        #expect(server.socketCount == 2 && server.nodeCount == 2)
        #expect(server.cores.allSatisfy { $0.threadCount == 2 })
        #expect(server.cores.map(\.socket) == [0, 0, 0, 0, 1, 1, 1, 1])
        #expect(server.summary == "8 cores on 2 sockets, 2 NUMA nodes, 2 hardware threads each")
        #expect(server.nodeNotice?.contains("2 NUMA nodes") == true)

        let simple = Topology(description: "pack:1 core:3 pu:1", coreQuota: nil)
        #expect(simple.workerCount == 3 && simple.nodeNotice == nil)
        #expect(simple.summary == "3 cores on 1 socket, 1 NUMA node")
    }

    @Test(arguments: [(4.0, 4), (2.5, 2), (0.5, 1), (64, 8)]) func aQuotaLimitsTheWorkers(
        _ quota: Double, _ workers: Int
    ) {
        let machine = Topology(description: "pack:2 core:4 pu:2", coreQuota: quota)
        #expect(machine.workerCount == workers && machine.cores.count == 8)
        #expect(machine.summary.hasSuffix("time of \(quota) by the control group"))
    }

    @Test func quotasAreReadInBothVersions() throws {
        func quota(_ files: [String: String]) throws -> Double? {
            try withFiles(files) { ControlGroups(root: $0.path).coreQuota }
        }
        #expect(
            try quota([
                "proc/self/cgroup": "0::/batch/job\n", "sys/fs/cgroup/batch/job/cpu.max": "max 100000\n",
                "sys/fs/cgroup/batch/cpu.max": "250000 100000\n", "sys/fs/cgroup/cpu.max": "800000 100000\n",
            ]) == 2.5)
        #expect(
            try quota([
                "proc/self/cgroup": "4:cpu,cpuacct:/job\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            ]) == 4)
        #expect(try quota([:]) == nil)
    }

    /// The cores that each worker of a pool may use while it runs.
    private static func coresOfWorkers(_ pool: WorkerPool) -> [Int] {
        let counts = Tensor<Float>(pool.workerCount)
        // Each waits for the others, so that all of them have a block.
        let arrived = Counter()
        pool.forEach(pool.workerCount) { _, worker in
            arrived.add()
            while arrived.value < pool.workerCount { usleep(100) }
            counts.data[worker] = Float(Topology(coreQuota: nil).cores.count)
        }
        return counts.elements.map { Int($0) }
    }

    @Test func workersThatTakeAllCoresAreBound() async {
        await onThreadOfItsOwn {
            let all = Topology(coreQuota: nil).cores.count
            do {
                let pool = WorkerPool(threads: all, binding: true)
                #expect(pool.isBound && Self.coresOfWorkers(pool) == Array(repeating: 1, count: all))
                #expect(pool.summary.contains("each bound to a core"))
            }
            #expect(Topology(coreQuota: nil).cores.count == all, "the caller is free again")
            for (threads, binding) in [(all, false), (all + 1, true)] + (all > 1 ? [(all - 1, true)] : []) {
                let pool = WorkerPool(threads: threads, binding: binding)
                #expect(!pool.isBound && Self.coresOfWorkers(pool).allSatisfy { $0 == all })
            }
        }
    }

    private final class Counter: @unchecked Sendable {
        private let lock = NSLock()
        private var count = 0
        func add() { lock.withLock { count += 1 } }
        var value: Int { lock.withLock { count } }
    }
}
