import ArgumentParser
import Foundation
import Planning
import Settings
import TensorCore

struct ScalingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scaling", abstract: "Predicts how much faster a step is on more workers.",
        discussion: """
            Makes a step on one worker, of one and of two layers, records the time of every task and schedules the tasks \
            as the pool would on 1 to 128 workers, the measured cost of handing work over included. What cores share \
            (memory, caches, the clock) is not in that. For as many workers as there are cores it is measured: so many \
            steps at once, each on one worker, and how much longer the tasks of each phase take. The prediction is \
            both. Beside it stands the speed-up of whole steps, in turns. A quiet machine is needed.

            Example:
              cosmos-benchmarks scaling --config configs/llama60m.cfg --set training.batch_size=8 --json
            """)

    @Option(help: "The configuration file.")
    var config: String
    @Option(name: .customLong("set"), parsing: .unconditionalSingleValue, help: "Replace one setting of the file.")
    var assignments: [String] = []
    @Flag(inversion: .prefixedNo, help: "Measure on this machine's cores, too.")
    var measure = true
    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let scaling = try Scaling(
            try RunConfiguration(file: config, assignments: assignments), measuring: measure ? 30 : nil)
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            encoder.keyEncodingStrategy = .convertToSnakeCase
            return say(String(decoding: try encoder.encode(scaling), as: UTF8.self))
        }
        let calls = scaling.callSeconds.sorted { $0.key < $1.key }.map {
            String(format: "%.1f with %ld", $0.value * 1e6, $0.key)
        }
        say(
            "microseconds of a call to which all workers come (those that have cores): \(calls.joined(separator: ", "))"
                + String(format: "; %.2f for each more\n", scaling.handOver * 1e6))
        let teams = scaling.predicted.keys.sorted()
        func row(_ name: String, _ cells: [String]) {
            say(
                name.padding(toLength: 34, withPad: " ", startingAt: 0)
                    + cells.map { String(repeating: " ", count: max(1, 8 - $0.count)) + $0 }.joined())
        }
        func row(_ name: String, _ format: String, _ values: [Int: Double], more: [String] = []) {
            row(name, teams.map { values[$0].map { String(format: format, $0) } ?? "" } + more)
        }
        row("workers", teams.map { "\($0)" })
        row("speed-up by scheduling alone", "%.1f", scaling.scheduled)
        row(
            "with what these cores share", "%.2f",
            scaling.predicted.filter { team, _ in scaling.phases.contains { $0.slowDown[team] != nil } })
        row("measured", "%.2f", scaling.measured)
        say("")
        row("speed-up by scheduling alone", teams.map { "\($0)" } + ["s on 1", "longest"])
        for phase in scaling.phases {
            let times = [String(format: "%.4f", phase.seconds), String(format: "%.5f", phase.longestTask)]
            row(phase.name, "%.1f", phase.speedUp, more: times)
        }
        say("")
        row("busy share, %", teams.map { "\($0)" })
        for phase in scaling.phases { row(phase.name, "%.0f", phase.busyShare.mapValues { 100 * $0 }) }
        guard measure else { return }
        say("")
        row("tasks take, times as long", teams.map { "\($0)" })
        for phase in scaling.phases { row(phase.name, "%.2f", phase.slowDown) }
    }
}
