import Configuration
import Foundation
import Training

/// Plans as text for people.
enum PlanText {
    /// One plan whole.
    static func report(_ plan: RunPlan, _ configuration: RunConfiguration) -> String {
        let parameters = plan.roles.map {
            [
                $0.role, Format.grouped($0.parameters), "in \($0.tensors)", $0.rule,
                "state \(Format.bytes($0.stateBytes))",
            ]
        }
        let memory = plan.memory.rows.map { [$0.name, Format.bytes($0.bytes), Format.grouped($0.bytes)] }
        var totals = [("needed", Format.bytes(plan.memory.required))]
        totals.append(("fits this machine", verdict(plan)))
        if let unsupported = plan.unsupported { totals.append(("runs on this CPU", "NO: \(unsupported)")) }

        var run = [
            (
                "run",
                "\(Format.grouped(plan.steps)) steps of \(Format.grouped(plan.tokensPerStep)) tokens, "
                    + "\(Format.count(plan.tokens)) in all"
            ),
            (
                "FLOPs",
                Format.rate(plan.flopsPerToken) + " a token, "
                    + String(format: "%.2g in all", plan.runFlops)
            ),
            (
                "checkpoints",
                "\(Format.bytes(plan.disk.checkpoint)) each, at most \(Format.bytes(plan.disk.most)) with "
                    + "\(configuration.output.keepCheckpoints) kept; \(Format.bytes(plan.disk.free)) are free"
                    + (plan.disk.most > plan.disk.free ? ": NOT ENOUGH" : "")
            ),
        ]
        if let speed = plan.speed {
            run += [
                (
                    "speed",
                    "\(Format.rate(speed.tokensPerSecond)) tokens/s, "
                        + String(format: "%.1f GFLOP/s", speed.flopsPerSecond / 1e9)
                ),
                (
                    "step",
                    "\(Format.duration(speed.stepSeconds)), of which the optimizer "
                        + String(
                            format: "%.2g s (%.1f %%)", speed.optimizerSeconds,
                            100 * speed.optimizerSeconds / speed.stepSeconds)
                ),
                ("time", "\(Format.duration(speed.runSeconds)), to \(end(speed.runSeconds))"),
                ("measured on", speed.method),
            ]
        }
        return "parameters, \(Format.grouped(plan.parameterCount)) in all\n" + indented(parameters)
            + "\n\nmemory, with \(plan.optimizer)\n" + indented(memory) + "\n" + indented(totals.map { [$0.0, $0.1] })
            + "\n\n" + aligned(run.map { [$0.0, $0.1] })
    }

    /// Optimizers side by side.
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
        return aligned([header] + rows)
            + "\n\n* as configured; the others with their defaults, and its values for settings of the same name"
            + machine
            + (plans.lazy.compactMap(\.speed).first.map { "\nmeasured on \($0.method)" } ?? "") + unsupported
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
