import Machine
import TensorCore
import Testing

@Suite struct DoctorTests {
    private let avx2: Set<String> = ["SSE4.2", "AVX", "AVX2", "FMA"]
    private let avx512: Set<String> = ["SSE4.2", "AVX", "AVX2", "FMA", "AVX-512F", "AVX-512BW/VL/DQ"]

    @Test func kernelsThatFitAreWell() {
        #expect(Doctor.openBLAS(core: "SkylakeX", features: avx512, forced: nil).verdict == .ok)
        #expect(Doctor.openBLAS(core: "Haswell", features: avx2, forced: nil).verdict == .ok)
        #expect(Doctor.openBLAS(core: "Zen", features: avx2, forced: nil).verdict == .ok)
        #expect(Doctor.openBLAS(core: "NEWCORE", features: avx512, forced: nil).verdict == .ok)
    }

    @Test func kernelsForAnOlderCPUAreAWarning() {
        let finding = Doctor.openBLAS(core: "Haswell", features: avx512, forced: nil)
        #expect(finding.verdict == .warn)
        #expect(finding.detail == "OpenBLAS for Haswell (AVX2), but the CPU has AVX-512")
    }

    @Test func aForcedCoreTypeIsNamed() {
        let slow = Doctor.openBLAS(core: "Prescott", features: avx512, forced: "PRESCOTT")
        #expect(slow.verdict == .warn)
        #expect(slow.detail.contains("forced by OPENBLAS_CORETYPE=PRESCOTT"))
        #expect(slow.remedy?.hasPrefix("unset OPENBLAS_CORETYPE") == true)
        #expect(Doctor.openBLAS(core: "Haswell", features: avx2, forced: "Haswell").verdict == .warn)
    }

    @Test func bfloat16UnitsAreNamed() {
        func features(_ hasUnit: Bool) -> [CPUFeature] {
            [CPUFeature(name: "AVX2", isRequired: true, isPresent: true)]
                + [CPUFeature(name: "AMX BF16", isRequired: false, isPresent: hasUnit)]
        }
        #expect(Doctor.bfloat16(features(true)).detail == "AMX BF16: training.precision may be bf16")
        #expect(Doctor.bfloat16(features(false)).detail.hasPrefix("not on this CPU"))
    }

    private func verdicts(_ machine: String, quota: Double? = nil, available: Int = 16 << 30) -> [Finding.Verdict] {
        Doctor.resources(
            Topology(description: machine, coreQuota: quota), MachineMemory(limit: 32 << 30, available: available)
        ).map(\.verdict)
    }

    @Test func limitsOfCoresAndMemoryAreWarnings() {
        let desktop = "pack:1 core:8 pu:2"
        #expect(verdicts(desktop) == [.ok, .ok])
        #expect(verdicts(desktop, quota: 8) == [.ok, .ok])
        #expect(verdicts(desktop, quota: 2.5) == [.warn, .ok])
        #expect(verdicts("pack:2 [numa] core:8 pu:2") == [.warn, .ok])
        #expect(verdicts(desktop, available: 1 << 29) == [.ok, .warn])
        #expect(
            Doctor.resources(Topology(description: desktop, coreQuota: 2.5), nil).map(\.detail) == [
                "8 cores on 1 socket, 1 NUMA node, 2 hardware threads each, time of 2.5 by the control group; a run has 2 "
                    + "workers"
            ])
    }

    @Test func theKernelsTextsAreRead() {
        #expect(
            MachineMemory.memoryInfo("MemTotal:       24684096 kB\nHugePages_Total:       0\n\n")
                == ["MemTotal": 24_684_096 * 1024, "HugePages_Total": 0])
        #expect(
            ControlGroups.folders("0::/a/b\n") == ["/sys/fs/cgroup", "/sys/fs/cgroup/a", "/sys/fs/cgroup/a/b"])
        #expect(
            ControlGroups.folders("9:name=systemd:/\n4:memory:/x\n2:cpu,cpuacct:/\n") == [
                "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/cpu,cpuacct",
            ])
    }

    @Test func thisMachineHasCoresAndMemory() throws {
        let machine = Topology.current
        #expect(machine.machineCoreCount >= machine.cores.count && machine.cores.count >= machine.workerCount)
        #expect(machine.workerCount == availableCoreCount && availableCoreCount >= 1)
        let memory = try #require(MachineMemory.current)
        #expect(memory.limit > memory.available && memory.available > 0)
        #expect(Doctor.examine().allSatisfy { $0.verdict == .ok || $0.remedy != nil })
    }
}
