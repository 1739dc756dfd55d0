import ArgumentParser
import Foundation
import TensorCore

struct KernelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Times kernels, matrix products and optimizer steps on the shapes of LLaMA 130M.",
        discussion: """
            GB/s stand beside the rate at which all threads together copy memory, GFLOP/s beside what their multiply \
            units do from registers, both measured right before. Times are medians.
            """)

    @Option(help: "Only what has this in its name, case apart.")
    var filter: String?
    @Flag(help: "Print the names and stop.")
    var list = false
    @Option(help: "Worker threads; 0: all cores.")
    var threads = 0
    @Option(help: "Seconds for each; at least three runs.")
    var seconds = 0.5
    @Flag(help: "Print a line of JSON for each.")
    var json = false
    @Option(
        help: """
            Prepare the one of this name and print its name; then, for each line of standard input, a number, run it so \
            often and print a line of JSON.
            """)
    var serve: String?

    func run() throws {
        if let serve {
            guard let task = allTasks.first(where: { $0.name == serve }) else {
                throw ValidationError("there is nothing of the name \(serve): see --list")
            }
            return try self.serve(task)
        }
        let tasks = allTasks.filter { filter == nil || $0.name.localizedCaseInsensitiveContains(filter!) }
        if tasks.isEmpty { throw ValidationError("no name has \(filter ?? "") in it: see --list") }
        if list { return tasks.forEach { say($0.name) } }
        let pool = WorkerPool(threads: threads)
        if !json {
            say(
                "\(pool.workerCount) threads, OpenBLAS for \(LinearAlgebraLibrary.coreName), oneDNN \(BFloat16Library.version)"
            )
        }
        for task in tasks {
            let limit = Limit(for: task.cost, pool: pool)
            let work = try task.prepare(pool)
            _ = try time(work)
            var times: [Double] = []
            while times.count < 3 || times.reduce(0, +) < seconds { times.append(try time(work)) }
            let measurement = Measurement(task, seconds: times.sorted()[times.count / 2], limit: limit)
            say(json ? measurement.json : measurement.text)
        }
    }

    private func serve(_ task: MeasuredTask) throws {
        let pool = WorkerPool(threads: threads)
        let work = try task.prepare(pool)
        _ = try time(work)
        say(#"{"name": "\#(task.name)"}"#)
        while let line = readLine() {
            guard let count = Int(line), count > 0 else { throw ValidationError("'\(line)' is not a number of runs") }
            let limit = Limit(for: task.cost, pool: pool)
            var sum = 0.0
            for _ in 0..<count { sum += try time(work) }
            say(Measurement(task, seconds: sum / Double(count), limit: limit).json)
        }
    }

    private func time(_ work: MeasuredTask.Work) throws -> Double {
        work.reset()
        let start = ContinuousClock.now
        try work.run()
        return (ContinuousClock.now - start) / .seconds(1)
    }
}

/// Prints a line at once, into a pipe too.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
