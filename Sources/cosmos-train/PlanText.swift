import Comparison
import Configuration
import Console
import Foundation
import Machine
import Planning
import Settings
import TensorCore

enum PlanText {
    static func report(_ plan: RunPlan, _ configuration: RunConfiguration) -> String {
        let parameters = plan.roles.map {
            [
                $0.role, Format.grouped($0.parameters), "in \($0.tensors)", $0.rule,
                "state \(Format.bytes($0.stateBytes))",
            ]
        }
        let memory = plan.memory.rows.map { [$0.name, Format.bytes($0.bytes), Format.grouped($0.bytes)] }
        var totals = [["needed", Format.bytes(plan.memory.required)], ["fits this machine", verdict(plan)]]
        if let unsupported = plan.unsupported { totals.append(["runs on this CPU", "NO: \(unsupported)"]) }

        var run = [
            [
                "run",
                "\(Format.grouped(plan.steps)) steps of \(Format.grouped(plan.tokensPerStep)) tokens, "
                    + "\(Format.count(plan.tokens)) in all",
            ],
            ["FLOPs", Format.rate(plan.flopsPerToken) + " a token, " + String(format: "%.2g in all", plan.runFlops)],
            [
                "checkpoints",
                "\(Format.bytes(plan.disk.checkpoint)) each, at most \(Format.bytes(plan.disk.most)) with "
                    + "\(configuration.output.keepCheckpoints) kept; \(Format.bytes(plan.disk.free)) are free"
                    + (plan.disk.most > plan.disk.free ? ": NOT ENOUGH" : ""),
            ],
        ]
        if let ranks = plan.ranks { run.append(["ranks", text(ranks, plan.speed)]) }
        run.append(["workers", plan.workers])
        if let notice = Topology.current.nodeNotice { run.append(["note", notice]) }
        if let speed = plan.speed { run += rows(speed) }
        if let problem = plan.speedProblem { run.append(["speed", "unknown: \(problem)"]) }
        return "parameters, \(Format.grouped(plan.parameterCount)) in all\n" + indented(parameters)
            + "\n\nmemory\(plan.ranks == nil ? "" : " of the largest rank"), with \(plan.optimizer)\n"
            + indented(memory) + "\n" + indented(totals) + "\n\n" + aligned(run)
            + configuration.optimizer.excessiveDecay.map { "\n\nnote: \($0)" }.joined()
    }

    static func comparison(_ plans: [RunPlan], configured: String) -> String {
        let hasSpeed = plans.contains { $0.speed != nil }
        let header =
            ["optimizer", "state", "scratch", "needed", "fits", "checkpoint"]
            + (hasSpeed ? ["optimizer s/step", "step", "tokens/s", "run"] : [])
        let rows = plans.map { plan in
            [
                plan.optimizer + (plan.optimizer == configured ? " *" : ""), Format.bytes(plan.memory.stateBytes),
                Format.bytes(plan.memory.optimizerScratch), Format.bytes(plan.memory.required),
                plan.fits ? "yes" : "NO", Format.bytes(plan.disk.checkpoint),
            ]
                + (plan.speed.map {
                    [
                        String(format: "%.3g", $0.optimizerSeconds), Format.duration($0.stepSeconds),
                        Format.rate($0.tokensPerSecond), Format.duration($0.runSeconds),
                    ]
                } ?? (hasSpeed ? ["-", "-", "-", "-"] : []))
        }
        let unsupported = plans.compactMap { plan in
            plan.unsupported.map { "\n\(plan.optimizer) does NOT run on this CPU: \($0)" }
        }.joined()
        let machine = plans[0].machine.map { "; \(Format.bytes($0.available)) are available on this machine" } ?? ""
        var lines = [
            aligned([header] + rows), "",
            "* as configured; the others with their defaults, and its values for settings of the same name" + machine,
        ]
        if let speed = plans.lazy.compactMap(\.speed).first {
            lines += ["measured on \(speed.method)"] + busy(speed).map { "note: \($0)" }
        }
        if let problem = plans.lazy.compactMap(\.speedProblem).first { lines.append("no speed: \(problem)") }
        return lines.joined(separator: "\n") + unsupported
    }

    private static func text(_ ranks: RanksPlan, _ speed: RunPlan.Speed?) -> String {
        let network = String(format: "%g Gbit/s", ranks.gigabitsPerSecond)
        let seconds = "\(Format.duration(ranks.communicationSeconds)) of communication a step"
        let base = "\(ranks.count), each like this machine, over \(network): \(seconds)"
        guard let speed, let efficiency = ranks.efficiency else { return base }
        return base
            + String(
                format: " (%.1f %%), %.0f %% of the speed of %ld", 100 * ranks.communicationSeconds / speed.stepSeconds,
                100 * efficiency, ranks.count)
    }

    private static func rows(_ speed: RunPlan.Speed) -> [[String]] {
        let range = "\(Format.rate(speed.slowestTokensPerSecond)) to \(Format.rate(speed.fastestTokensPerSecond))"
        let flops = String(format: "%.1f GFLOP/s, %.0f %% MFU", speed.flopsPerSecond / 1e9, 100 * speed.mfu)
        let optimizer = String(
            format: "%.2g s (%.1f %%)", speed.optimizerSeconds, 100 * speed.optimizerSeconds / speed.stepSeconds)
        let times = [speed.fastestTokensPerSecond, speed.slowestTokensPerSecond].map {
            Format.duration(speed.runSeconds * speed.tokensPerSecond / $0)
        }
        let rows = [
            ["speed", "\(Format.rate(speed.tokensPerSecond)) tokens/s (\(range)), \(flops)"],
            ["step", "\(Format.duration(speed.stepSeconds)), of which the optimizer \(optimizer)"],
            ["time", "\(Format.duration(speed.runSeconds)) (\(times[0]) to \(times[1])), to \(end(speed.runSeconds))"],
            ["measured on", speed.method],
        ]
        return rows + busy(speed).map { ["note", $0] }
    }

    /// What is to be known of a speed that was measured beside other work.
    private static func busy(_ speed: RunPlan.Speed) -> [String] {
        guard let cores = speed.othersCores, cores > 0.1 * Double(availableCoreCount) else { return [] }
        return [
            String(
                format: "other programs used %.1f of this machine's cores meanwhile: plan again when it is idle", cores)
        ]
    }

    /// The runs of a sweep, all to be made. Those that differ in seeds, learning rate and schedule alone take
    /// the same; their speed is measured once.
    static func sweep(_ sweep: SweepPlan, jobs: Int, probe: Bool) throws -> String {
        let (program, machine, status) = (residentBytes(), MachineMemory.current, StatusLine())
        defer { status.finish() }
        let pool = sweep.runs[0].configuration.makePool()
        var (plans, probes) = ([String: RunPlan](), [String: SpeedProbe]())
        var rows: [[String]] = []
        var (memory, seconds) = ([Int](), 0.0)
        for run in sweep.runs {
            let values = run.configuration.values.filter {
                !$0.key.hasPrefix("schedule.")
                    && !["optimizer.lr", "training.seed", "data.seed", "output.run_dir"].contains($0.key)
            }
            let kind = values.map(\.value).joined(separator: "\n")
            var plan = try plans[kind] ?? RunPlan(run.configuration, pool: pool, program: program, machine: machine)
            if probe, plan.speed == nil {
                status.show("measuring the speed of \(run.name) ...")
                let passes = values.filter { ["model.", "data.", "training."].contains(where: $0.key.hasPrefix) }
                    .map(\.value).joined(separator: "\n")
                let known = try probes[passes] ?? SpeedProbe(run.configuration, pool: pool, machine: machine)
                probes[passes] = known
                try known.complete(&plan, run.configuration)
            }
            plans[kind] = plan
            memory.append(plan.memory.required)
            seconds += plan.speed?.runSeconds ?? 0
            rows.append(
                [run.folder, Format.bytes(plan.memory.required)]
                    + (plan.speed.map { [Format.duration($0.runSeconds)] } ?? [])
                    + (plan.fits ? [] : ["does NOT fit this machine"]))
        }
        let most = memory.sorted().suffix(jobs).reduce(0, +)
        var text = "\(Format.plural(rows.count, "run")), \(jobs) at a time: at most \(Format.bytes(most))"
        if probe { text += ", about \(Format.duration(seconds / Double(jobs)))" }
        if let machine { text += "; \(Format.bytes(machine.available)) are available" }
        return aligned(rows) + "\n\n" + text
    }

    private static func verdict(_ plan: RunPlan) -> String {
        guard let machine = plan.machine else { return "unknown: the system does not say how much memory there is" }
        let limit = machine.isLimitedByGroup ? "the control group's limit is" : "memory and swap are"
        return (plan.fits ? "yes" : "NO") + ": \(Format.bytes(machine.available)) are available, \(limit) "
            + Format.bytes(machine.limit)
    }

    private static func end(_ seconds: Double) -> String {
        // Beyond a thousand years no calendar helps.
        guard seconds < 3e10 else { return "beyond any date" }
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.dateFormat = "yyyy-MM-dd HH:mm"
        return formatter.string(from: Date(timeIntervalSinceNow: seconds)) + " if it starts now"
    }

    private static func indented(_ rows: [[String]]) -> String {
        aligned(rows).split(separator: "\n").map { "  " + $0 }.joined(separator: "\n")
    }
}
