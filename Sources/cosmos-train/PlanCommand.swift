import ArgumentParser
import Configuration
import Foundation
import TensorCore
import Training

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Say what a run will take: memory, disk and time.",
        discussion: """
            Counts parameters and memory before anything is allocated, to the byte for weights, gradients, optimizer \
            state and activations, and compares the sum with what this machine (or its container) has. Then measures for \
            some ten seconds how fast this machine is, on a few layers of the model, and says how long the run will take.

            Examples:
              cosmos-train plan --config configs/llama60m.cfg
              cosmos-train plan --config configs/llama1b.cfg --all-optimizers --no-probe
              cosmos-train plan --config configs/llama60m.cfg --set training.micro_batch_size=4 --json
            """)

    @OptionGroup var given: RunOptions

    @Flag(help: "Every optimizer side by side: this one's settings, the others' defaults with this one's values.")
    var allOptimizers = false

    @Flag(help: "Print JSON; sizes are bytes, times seconds.")
    var json = false

    @Flag(inversion: .prefixedNo, help: "Measure how fast this machine is.")
    var probe = true

    func run() throws {
        let configuration = try given.configuration()
        let (program, machine) = (residentBytes(), MachineMemory.current)
        let pool = WorkerPool(threads: configuration.training.threads)
        let configurations = allOptimizers ? try configuration.withEveryOptimizer() : [configuration]
        var plans = try configurations.map {
            try RunPlan($0, pool: pool, program: program, machine: machine)
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
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            encoder.keyEncodingStrategy = .convertToSnakeCase
            try printResult(
                String(
                    decoding: allOptimizers ? try encoder.encode(plans) : try encoder.encode(plans[0]), as: UTF8.self))
        } else if allOptimizers {
            try printResult(PlanText.comparison(plans, configured: configuration.optimizer.name))
        } else {
            try printResult(PlanText.report(plans[0], configuration))
        }
    }
}
