import Checkpoints
import Configuration
import Console
import Files
import Foundation
import TensorCore
import Training

/// Makes the runs of a plan, each in a process of its own, some at a time.
///
/// What is in the folder already is kept: a finished run is finished, a stopped one goes on from its
/// checkpoint, a diverged one stays so, a failed one is tried again. `summary.csv` says after each
/// change how far each run is.
public final class Sweep {
    public enum State: String, Sendable {
        case planned, running, finished, stopped, diverged, failed
    }

    private struct Job {
        let run: SweepPlan.Run
        var state: State
        var process: Process?
        /// What it said when it failed.
        var message = ""
        /// The run's record, once it has ended or was stopped before.
        var record: RunRecord?
    }

    private let plan: SweepPlan
    private let jobsAtOnce: Int
    private let cancellation: CancellationFlag
    private var jobs: [Job] = []
    private let status = StatusLine(interval: 2)
    private var isStopping = false
    private let lock: FolderLock
    private let summary: SweepSummary

    /// Makes the folder and looks at what it holds. Only one sweep at a time may work in it, or the shards of one.
    public init(_ plan: SweepPlan, jobsAtOnce: Int, cancellation: CancellationFlag) throws {
        self.plan = plan
        self.jobsAtOnce = jobsAtOnce
        self.cancellation = cancellation
        lock = try FolderLock(
            plan.folder, option: "--out (the shards of a sweep share one, see --shard)", plan.isShard ? .shared : .alone
        )
        try makeOwnFolder(plan.folder + "/output")
        summary = try SweepSummary(of: plan)
        jobs = try plan.runs.map(Self.job)
    }

    /// How far a run is, by its folder.
    private static func job(_ run: SweepPlan.Run) throws -> Job {
        // A run that was killed at its very beginning lacks one of them.
        guard
            [RunFolder.logName, RunFolder.configurationName].allSatisfy({
                FileManager.default.fileExists(atPath: "\(run.folder)/\($0)")
            })
        else { return Job(run: run, state: .planned) }
        let record = try RunRecord(path: run.folder)
        let state: State =
            switch record.state {
            case .finished: .finished
            case .diverged: .diverged
            case .unfinished: .stopped
            }
        return Job(run: run, state: state, record: record)
    }

    /// Makes all runs. Returns false where it was stopped before the end; throws where runs failed.
    public func run() throws -> Bool {
        // Whatever goes wrong here, no run is left without its sweep.
        defer { stop() }
        for job in jobs where job.state == .finished || job.state == .diverged {
            say(job, job.state.rawValue + " before", detail(of: job))
        }
        // Whatever is neither finished nor diverged is to be made, in the order of the plan.
        var waiting = jobs.indices.filter { [.planned, .stopped].contains(jobs[$0].state) }[...]
        try writeSummary()
        let watch = status.isTerminal ? try Watch(plan.folder) : nil
        while true {
            if cancellation.isRequested { stop() }
            for index in jobs.indices where jobs[index].process?.isRunning == false { try finish(index) }
            while !isStopping, jobs.count(where: { $0.state == .running }) < jobsAtOnce, let next = waiting.popFirst() {
                try start(next)
            }
            guard jobs.contains(where: { $0.state == .running }) else { break }
            if let watch {
                status.show { width in
                    _ = try? watch.look()
                    return watch.screen(width: width)
                }
            }
            usleep(200_000)
        }
        let failed = jobs.filter { $0.state == .failed }
        let counts = [State.finished, .diverged, .failed, .stopped, .planned].map { state in
            (state, jobs.count { $0.state == state })
        }.filter { $0.1 > 0 }
        status.finish(counts.map { "\($1) \($0.rawValue)" }.joined(separator: ", ") + "; \(plan.folder)/summary.csv")
        if jobs.contains(where: { $0.state == .stopped || $0.state == .planned }) { return false }
        if let first = failed.first {
            throw UserError(
                .data, "\(failed.count) of \(jobs.count) runs failed; the first, \(first.run.name): \(first.message)",
                hint: "see \(plan.folder)/output/\(first.run.name).txt; the same command tries them again")
        }
        return true
    }

    private func start(_ index: Int) throws {
        let run = jobs[index].run
        if plan.isShard {
            // Somebody else may have made it meanwhile: the same shard, or one of another count.
            jobs[index] = try Self.job(run)
            if [.finished, .diverged].contains(jobs[index].state) { return }
        }
        let process = Process()
        process.executableURL = URL(
            filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        // A file with every setting of the run: nobody can change it, as the configuration of the sweep, while
        // the sweep is under way.
        let file = "\(plan.folder)/output/\(run.name).cfg"
        try AtomicFile.write(run.configuration.yaml, to: file)
        process.arguments = ["train", "--config", file] + (RunFolder.holdsRun(run.folder) ? ["--resume"] : [])
        let output = outputFile(of: run)
        let stream = FileHandle(fileDescriptor: try openOwnFile(output, O_WRONLY | O_TRUNC), closeOnDealloc: true)
        defer { try? stream.close() }
        process.environment = ProcessInfo.processInfo.environment.merging(
            [Interruption.parentVariable: "\(getpid())"]) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = stream
        process.standardError = stream
        do { try process.run() } catch {
            throw UserError(
                .inputOutput, "cannot start a run: \(error.localizedDescription)",
                hint: "too many processes or too little memory may be the cause: see `ulimit -u` and `free -h`")
        }
        jobs[index].process = process
        jobs[index].state = .running
        if !status.isTerminal { say(jobs[index], "started", "", isResult: false) }
        try writeSummary()
    }

    private func finish(_ index: Int) throws {
        guard let process = jobs[index].process else { return }
        process.waitUntilExit()
        jobs[index].process = nil
        switch (process.terminationReason, process.terminationStatus) {
        case (.exit, 0): jobs[index].state = .finished
        case (.exit, 70): jobs[index].state = .diverged
        case (.exit, 75): jobs[index].state = .stopped
        case (.exit, let status):
            jobs[index].state = .failed
            jobs[index].message = lastError(in: outputFile(of: jobs[index].run)) ?? "it ended with exit code \(status)"
        case (_, SIGTERM) where isStopping, (_, SIGINT) where isStopping: jobs[index].state = .stopped
        case (_, let signal):
            jobs[index].state = .failed
            jobs[index].message =
                "it was ended by signal \(signal)\(signal == SIGKILL ? ", perhaps for lack of memory" : "")"
        }
        jobs[index].record = try? RunRecord(path: jobs[index].run.folder)
        say(jobs[index], jobs[index].state.rawValue, detail(of: jobs[index]))
        try writeSummary()
    }

    /// Asks every run to stop in good order, once.
    private func stop() {
        guard !isStopping else { return }
        isStopping = true
        for job in jobs { if let process = job.process, process.isRunning { kill(process.processIdentifier, SIGTERM) } }
    }

    private func outputFile(of run: SweepPlan.Run) -> String { "\(plan.folder)/output/\(run.name).txt" }

    private func lastError(in file: String) -> String? {
        lastLines(of: file).last { $0.lowercased().hasPrefix("error: ") }
            .map { String($0.dropFirst("error: ".count)) }
    }

    private func detail(of job: Job) -> String {
        guard job.state != .failed, let record = job.record else { return job.message }
        if let loss = record.finalLoss {
            return "validation loss \(nats(loss)), \(Format.duration(record.log.seconds)), "
                + "\(Format.rate(record.tokensPerSecond)) tokens/s"
        }
        return "step \(record.log.lastStep) of \(record.configuration.steps)"
    }

    /// A line that stays: a run, what became of it, and what is worth knowing.
    private func say(_ job: Job, _ state: String, _ detail: String, isResult: Bool = true) {
        let width = plan.runs.map(\.name.count).max() ?? 0
        let name = job.run.name.padding(toLength: width, withPad: " ", startingAt: 0)
        status.print(
            "\(name)  \(state.padding(toLength: 15, withPad: " ", startingAt: 0))  \(detail)", isResult: isResult)
    }

    private func writeSummary() throws {
        try summary.write(jobs.map { (run: $0.run, state: $0.state, record: $0.record, message: $0.message) })
    }
}
