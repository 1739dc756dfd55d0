import Console
import Files
import Foundation
import TensorCore
import TokenData

public struct Finding: Equatable, Sendable {
    public enum Verdict: String, Sendable { case ok, warn, fail }

    public let verdict: Verdict
    public let subject: String
    public let detail: String
    public let remedy: String?

    init(_ verdict: Verdict, _ subject: String, _ detail: String, remedy: String? = nil) {
        (self.verdict, self.subject, self.detail, self.remedy) = (verdict, subject, detail, remedy)
    }
}

public enum Doctor {
    public static func examine() -> [Finding] {
        [build, cpu(CPUFeature.all), bfloat16(CPUFeature.all)] + libraries + [kernels, matrixProduct]
            + resources(Topology.current, MachineMemory.current) + [disk(".")]
    }

    // MARK: - The program

    private static var build: Finding {
        Provenance.isDebugBuild
            ? Finding(
                .fail, "build", Provenance.buildDescription,
                remedy: "build it with scripts/build.sh: a release is 100 times faster")
            : Finding(.ok, "build", Provenance.buildDescription)
    }

    package static func cpu(_ features: [CPUFeature]) -> Finding {
        let present = features.filter(\.isPresent).map(\.name)
        let used = features.filter(\.isRequired).map(\.name)
        let missing = features.filter { $0.isRequired && !$0.isPresent }.map(\.name)
        // The bf16 units are used by libraries that look for them themselves.
        let unused = features.filter { $0.isPresent && !$0.isRequired && !$0.name.contains("BF16") }.map(\.name)
        let detail = "has \(list(present)); this build uses \(list(used))"
        if !missing.isEmpty {
            return Finding(
                .fail, "CPU", detail + "; \(list(missing)) is missing",
                remedy: "build it on this machine with scripts/build.sh")
        }
        if !unused.isEmpty {
            return Finding(
                .warn, "CPU", detail,
                remedy: "build it on this machine with scripts/build.sh, which uses \(list(unused)), too")
        }
        return Finding(.ok, "CPU", detail)
    }

    package static func bfloat16(_ features: [CPUFeature]) -> Finding {
        let units = features.filter { $0.isPresent && $0.name.contains("BF16") }.map(\.name)
        return Finding(
            .ok, "bfloat16",
            units.isEmpty
                ? "not on this CPU: training.precision must be fp32"
                : "\(list(units)): training.precision may be bf16")
    }

    private static func list(_ names: [String]) -> String { names.isEmpty ? "none" : names.joined(separator: ", ") }

    // MARK: - Libraries

    private static var libraries: [Finding] {
        let rows = [
            ("OpenBLAS", "openblas", LinearAlgebraLibrary.version),
            ("LAPACKE", "lapacke", "interface \(lapackVersion)"), ("oneDNN", "libdnnl", BFloat16Library.version),
            ("hwloc", "libhwloc", nil),
            ("SentencePiece", "sentencepiece", nil),
            ("zlib", "libz", zlibRuntimeVersion),
        ]
        let loaded = loadedFiles()
        return rows.map { name, file, version in
            let path = loaded.first { folderAndName(of: $0).name.contains(file) }
            let text = [version, path].compactMap { $0 }.joined(separator: ", ")
            return Finding(.ok, name, text.isEmpty ? "linked into the program" : text)
        }
    }

    private static func loadedFiles() -> [String] {
        var paths: [String] = []
        for line in (kernelText("/proc/self/maps") ?? "").split(separator: "\n") {
            guard let slash = line.firstIndex(of: "/") else { continue }
            let path = String(line[slash...])
            if path.contains(".so"), paths.last != path { paths.append(path) }
        }
        return paths
    }

    // MARK: - OpenBLAS's kernels

    package static var kernels: Finding {
        openBLAS(
            core: LinearAlgebraLibrary.coreName, features: Set(CPUFeature.all.filter(\.isPresent).map(\.name)),
            forced: ProcessInfo.processInfo.environment["OPENBLAS_CORETYPE"])
    }

    /// Whether they use the vector units that the CPU has.
    package static func openBLAS(core: String, features: Set<String>, forced: String?) -> Finding {
        /// Widest vectors: 3 AVX-512, 2 AVX2, 1 AVX, 0 SSE.
        let widths = [
            3: ["skylakex", "cooperlake", "sapphirerapids", "zen4", "zen5"],
            2: ["haswell", "zen", "excavator"], 1: ["sandybridge", "bulldozer", "piledriver", "steamroller"],
            0: [
                "prescott", "core2", "penryn", "dunnington", "nehalem", "atom", "bobcat", "barcelona", "opteron",
                "generic", "nano",
            ],
        ]
        let cpu =
            features.isSuperset(of: ["AVX-512F", "AVX-512BW/VL/DQ"])
            ? 3 : features.contains("AVX2") ? 2 : features.contains("AVX") ? 1 : 0
        let kernels = widths.first { $0.value.contains(core.lowercased()) }?.key
        let names = ["SSE", "AVX", "AVX2", "AVX-512"]
        let origin = forced.map { ", forced by OPENBLAS_CORETYPE=\($0)" } ?? ""
        guard let kernels else { return Finding(.ok, "kernels", "OpenBLAS for \(core)\(origin)") }
        let detail = "OpenBLAS for \(core) (\(names[kernels]))\(origin)"
        if kernels < cpu {
            let remedy =
                forced != nil
                ? "unset OPENBLAS_CORETYPE, or matrix products will be slow"
                : "this OpenBLAS does not know the CPU: try a newer one, or "
                    + "OPENBLAS_CORETYPE=\(cpu == 3 ? "SkylakeX" : "Haswell")"
            return Finding(.warn, "kernels", detail + ", but the CPU has \(names[cpu])", remedy: remedy)
        }
        if forced != nil {
            return Finding(
                .warn, "kernels", detail, remedy: "unset OPENBLAS_CORETYPE unless this is meant: results depend on it")
        }
        return Finding(.ok, "kernels", detail)
    }

    /// A product of known result, timed on one core.
    private static var matrixProduct: Finding {
        let n = 768
        let (a, b, c) = (Tensor<Float>(n, n), Tensor<Float>(n, n), Tensor<Float>(n, n))
        for i in 0..<n {
            for j in 0..<n {
                a.matrix[i, j] = Float((i + j) % 7)
                b.matrix[i, j] = i == j ? 2 : 0
            }
        }
        var best = Double.infinity
        for _ in 0..<3 {
            let start = StatusLine.now()
            multiply(a.matrix.plain, b.matrix.plain, into: c.matrix)
            best = min(best, StatusLine.now() - start)
        }
        guard (0..<n * n).allSatisfy({ c.data[$0] == 2 * a.data[$0] }) else {
            return Finding(
                .fail, "products", "OpenBLAS gives wrong matrix products", remedy: "install another version of OpenBLAS"
            )
        }
        let rate = 2 * Double(n * n * n) / best / 1e9
        return Finding(.ok, "products", String(format: "correct, %.0f GFLOP/s in float32 on one core", rate))
    }

    // MARK: - The machine

    package static func resources(_ topology: Topology, _ memory: MachineMemory?) -> [Finding] {
        let workers = topology.workerCount
        var remedies: [String] = []
        if topology.cores.count < topology.machineCoreCount {
            remedies.append("the others are withheld by `taskset`, a batch system or a container")
        }
        if workers < topology.cores.count {
            remedies.append("the control group's quota holds more workers back: raise it (`--cpus` of a container)")
        }
        remedies += topology.nodeNotice.map { [$0] } ?? []
        let remedy = remedies.isEmpty ? nil : remedies.joined(separator: "; ")
        let processor = Finding(
            remedy == nil ? .ok : .warn, "cores",
            "\(topology.summary); a run has \(Format.plural(workers, "worker"))", remedy: remedy)
        guard let memory else { return [processor] }
        let detail = "\(Format.bytes(memory.available)) are available of \(Format.bytes(memory.limit)), \(memory.owner)"
        return [
            processor,
            memory.available < 1 << 30
                ? Finding(.warn, "memory", detail, remedy: "end other programs: a training run needs some gigabytes")
                : Finding(.ok, "memory", detail),
        ]
    }

    private static func disk(_ folder: String) -> Finding {
        do {
            let free = try freeSpace(in: folder)
            let detail = "\(Format.bytes(free)) are free in the current folder"
            if access(folder, W_OK) != 0 {
                return Finding(.warn, "disk", detail + ", which may not be written", remedy: "work in another folder")
            }
            return free < 5 << 30
                ? Finding(
                    .warn, "disk", detail,
                    remedy: "a checkpoint with AdamW takes three times the model, and several are kept")
                : Finding(.ok, "disk", detail)
        } catch {
            return Finding(.warn, "disk", "\(error)")
        }
    }
}
