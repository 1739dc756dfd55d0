import CHwloc
import Glibc

/// The physical cores that this process may use, and where they lie, as hwloc sees them.
public struct Topology: Sendable {
    public struct Core: Equatable, Sendable {
        /// Numbers of the machine's.
        public let socket: Int
        public let node: Int
        /// Its hardware threads that the process may use.
        public let threadCount: Int
    }

    /// The cores, neighbours side by side, without those that `taskset`, a batch system or a container withholds.
    public let cores: [Core]
    /// Those of the whole machine.
    public let machineCoreCount: Int
    /// Cores' worth of time that a control group grants; nil: no limit.
    public let coreQuota: Double?
    private let machine: Machine

    /// Of this machine, when the program first asked.
    public static let current = Topology(coreQuota: ControlGroups().coreQuota)

    /// With `description`, of a machine that hwloc makes up ("pack:2 [numa] core:4 pu:2").
    package init(description: String? = nil, coreQuota: Double?) {
        machine = Machine(description)
        (cores, machineCoreCount) = machine.cores
        self.coreQuota = coreQuota
    }

    /// The workers that are neither in each other's way nor made to wait by the control group.
    public var workerCount: Int { max(1, min(cores.count, coreQuota.map { Int($0) } ?? .max)) }
    public var socketCount: Int { Set(cores.map(\.socket)).count }
    public var nodeCount: Int { Set(cores.map(\.node)).count }

    /// "8 cores on 2 sockets, 2 NUMA nodes, 2 hardware threads each"
    public var summary: String {
        func count(_ number: Int, _ name: String) -> String { "\(number) \(name)\(number == 1 ? "" : "s")" }
        let threads = cores.map(\.threadCount).max() ?? 1
        return (cores.count < machineCoreCount ? "\(cores.count) of " : "") + count(machineCoreCount, "core") + " on "
            + count(socketCount, "socket") + ", " + count(nodeCount, "NUMA node")
            + (threads > 1 ? ", \(threads) hardware threads each" : "")
            + (coreQuota.map { ", time of \(Double(Int(10 * $0)) / 10) by the control group" } ?? "")
    }

    /// What several NUMA nodes mean for a run; nil where there is one.
    public var nodeNotice: String? {
        nodeCount == 1
            ? nil
            : "the cores are on \(nodeCount) NUMA nodes: the weights are spread over them, all else lies where the worker "
                + "is that first uses it; work moves between workers, so much is read from other nodes"
    }

    /// Keeps the calling thread to one core.
    func bind(to core: Int) { machine.bind(to: core) }

    /// Spreads what the calling thread first touches over all NUMA nodes.
    func spreadMemory() { if nodeCount > 1 { machine.spreadMemory() } }

    /// Takes both back.
    func release() { machine.release() }

    /// hwloc's objects, never changed once they are made.
    private final class Machine: @unchecked Sendable {
        private var topology: hwloc_topology_t?
        private let allowed = hwloc_bitmap_alloc()
        /// Virtual machines may know no cores.
        private let type: hwloc_obj_type_t
        private var sets: [hwloc_const_cpuset_t] = []
        private(set) var cores: (usable: [Core], machineCount: Int) = ([], 0)

        init(_ description: String?) {
            hwloc_topology_init(&topology)
            if let description { hwloc_topology_set_synthetic(topology, description) }
            let isLoaded = hwloc_topology_load(topology) == 0
            type = isLoaded && hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU
            guard isLoaded else {
                let count = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
                cores = ((0..<count).map { _ in Core(socket: 0, node: 0, threadCount: 1) }, count)
                return
            }
            if hwloc_get_cpubind(topology, allowed, Int32(HWLOC_CPUBIND_THREAD.rawValue)) != 0 {
                hwloc_bitmap_copy(allowed, hwloc_topology_get_allowed_cpuset(topology))
            }
            cores.machineCount = Int(hwloc_get_nbobjs_by_type(topology, type))
            for index in 0..<cores.machineCount {
                guard let core = hwloc_get_obj_by_type(topology, type, UInt32(index)),
                    hwloc_bitmap_intersects(core.pointee.cpuset, allowed) != 0
                else { continue }
                let threads = hwloc_bitmap_dup(core.pointee.cpuset)
                defer { hwloc_bitmap_free(threads) }
                hwloc_bitmap_and(threads, threads, allowed)
                let socket = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, core)
                cores.usable.append(
                    Core(
                        socket: Int(socket?.pointee.logical_index ?? 0),
                        node: max(0, Int(hwloc_bitmap_first(core.pointee.nodeset))),
                        threadCount: Int(hwloc_bitmap_weight(threads))))
                sets.append(core.pointee.cpuset)
            }
        }

        deinit {
            hwloc_bitmap_free(allowed)
            hwloc_topology_destroy(topology)
        }

        func bind(to core: Int) {
            guard sets.indices.contains(core), let set = hwloc_bitmap_dup(sets[core]) else { return }
            defer { hwloc_bitmap_free(set) }
            hwloc_bitmap_and(set, set, allowed)
            hwloc_set_cpubind(topology, set, Int32(HWLOC_CPUBIND_THREAD.rawValue))
        }

        func spreadMemory() {
            hwloc_set_membind(
                topology, hwloc_topology_get_topology_nodeset(topology), HWLOC_MEMBIND_INTERLEAVE,
                Int32(HWLOC_MEMBIND_THREAD.rawValue | HWLOC_MEMBIND_BYNODESET.rawValue))
        }

        func release() {
            hwloc_set_cpubind(topology, allowed, Int32(HWLOC_CPUBIND_THREAD.rawValue))
            hwloc_set_membind(
                topology, hwloc_topology_get_topology_nodeset(topology), HWLOC_MEMBIND_DEFAULT,
                Int32(HWLOC_MEMBIND_THREAD.rawValue | HWLOC_MEMBIND_BYNODESET.rawValue))
        }
    }
}

/// The workers of a pool unless it is told otherwise: physical cores that this process may use, or less by the
/// control group's quota.
public var availableCoreCount: Int { Topology.current.workerCount }
