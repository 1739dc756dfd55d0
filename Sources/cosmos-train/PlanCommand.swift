import ArgumentParser
import Configuration
import Console
import Foundation
import Machine
import Planning
import Settings
import TensorCore

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Say what a run will take: memory, disk and time.",
        discussion: """
            Counts parameters and memory before anything is allocated, to the byte for weights, gradients, optimizer \
            state and activations, and compares the sum with what this machine (or its container) has. Then measures for \
            some twenty seconds how fast this machine is, on a few layers, and says how long the run will take.

            Examples:
              cosmos-train plan --config configs/llama60m.cfg
              cosmos-train plan --config configs/llama1b.cfg --all-optimizers --no-probe
              cosmos-train plan --config configs/llama60m.cfg --set training.micro_batch_size=4 --json
              cosmos-train plan --config configs/llama130m.cfg --set training.gradient_lanes=16 --ranks 16 --network 25
            """)

    @OptionGroup var given: RunOptions

    @Flag(help: "Every optimizer side by side: this one's settings, the others' defaults with this one's values.")
    var allOptimizers = false

    @Flag(help: "Print JSON; sizes are bytes, times seconds.")
    var json = false

    @Flag(inversion: .prefixedNo, help: "Measure how fast this machine is.")
    var probe = true

    @Option(
        help: ArgumentHelp(
            "Say how much faster a step would be on so many workers than on one: a step of two layers is made.",
            valueName: "number"))
    var workers: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Plan for so many ranks, each with a machine like this one.", valueName: "number"))
    var ranks: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "With --ranks: the rate of the network between them, of which 85 % are taken to be usable.",
            valueName: "Gbit/s"))
    var network: Double?

    func validate() throws {
        try check("--ranks", ranks, 2...4096)
        try check("--workers", workers, 1...1024)
        if let network, !(network > 0 && network < 1e6) {
            throw ValidationError("--network \(network): must be a rate in Gbit/s above 0")
        }
        if (ranks == nil) != (network == nil) {
            throw ValidationError("--ranks and --network go together: so many ranks over such a network")
        }
    }

    func run() throws {
        let configuration = try given.configuration()
        if let workers { return try predict(configuration, workers: workers) }
        let (program, machine) = (residentBytes(), MachineMemory.current)
        let pool = configuration.makePool()
        let configurations = allOptimizers ? try configuration.withEveryOptimizer() : [configuration]
        var plans = try configurations.map {
            configuration in
            let shared = try ranks.map { count in
                try RanksPlan(configuration, count: count, gigabitsPerSecond: network ?? 0)
            }
            return try RunPlan(configuration, pool: pool, program: program, machine: machine, ranks: shared)
        }
        let supported = plans.indices.filter { plans[$0].unsupported == nil }
        if probe, let first = supported.first {
            let status = StatusLine()
            status.show("measuring the forward and backward pass ...")
            let probe = try SpeedProbe(configurations[first], pool: pool, machine: machine)
            for index in supported {
                status.show("measuring the step of \(plans[index].optimizer) ...")
                try probe.complete(&plans[index], configurations[index])
            }
            status.finish()
        }
        if json {
            try allOptimizers ? printJSON(plans) : printJSON(plans[0])
        } else if allOptimizers {
            try printResult(PlanText.comparison(plans, configured: configuration.optimizer.name))
        } else {
            try printResult(PlanText.report(plans[0], configuration))
        }
    }

    private func predict(_ configuration: RunConfiguration, workers: Int) throws {
        let status = StatusLine()
        status.show("recording the tasks of a step ...")
        let scaling = try Scaling(configuration, workers: [workers], measuring: nil)
        status.finish()
        if json { return try printJSON(scaling) }
        func row(_ name: String, _ speedUp: Double, _ share: Double) -> [String] {
            [
                name, String(format: "%.1f times as fast", speedUp),
                String(format: "%.0f %% busy", 100 * speedUp / Double(workers)),
                String(format: "%.0f %% of the time", 100 * share),
            ]
        }
        let total = scaling.phases.reduce(0) { $0 + $1.seconds / $1.speedUp[workers]! }
        try printResult(
            aligned(
                [row("a step on \(workers) workers", scaling.predicted[workers]!, 1)]
                    + scaling.phases.prefix(12).map {
                        row("  " + $0.name, $0.speedUp[workers]!, $0.seconds / $0.speedUp[workers]! / total)
                    })
                + "\nmemory bandwidth, caches and the clock that cores share are not in the prediction")
    }
}
