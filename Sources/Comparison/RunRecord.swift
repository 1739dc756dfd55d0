import Checkpoints
import Console
import Files
import Foundation
import LLaMA
import Settings
import Training

/// A run as its folder tells it: configuration, log, and how it ended.
public struct RunRecord: Sendable {
    public enum State: Equatable, Sendable {
        case finished
        /// Stopped, killed, or still under way, after this many steps.
        case unfinished(step: Int)
        /// Its numbers failed in this step.
        case diverged(step: Int)
    }

    public let path: String
    public let configuration: RunConfiguration
    public let log: RunLogSummary
    public let state: State
    /// The windows of the training data, where a checkpoint says so.
    public let windowCount: Int?
    /// What made the run, and what changed on the way; without events where an older version made it.
    public let history: RunHistory
    /// Bytes of the optimizer's state, from its formula.
    public let stateBytes: Int

    /// Reads the folder of a run. Throws where it is none, or its configuration or log can't be read; `warn` is told of a
    /// damaged history.
    public init(path: String, warn: (String) -> Void = { StatusLine().print("warning: \($0)") }) throws {
        let file = path + "/" + RunFolder.configurationName
        guard RegularFile.exists(file) else { throw noRun("\(path) is no run") }
        let configuration = try RunConfiguration(file: file)
        self.path = path
        self.configuration = configuration
        log = try RunLogSummary(path: path + "/" + RunFolder.logName)
        if let step = log.firstBadStep {
            state = .diverged(step: step)
        } else if log.lastStep >= configuration.steps {
            state = .finished
        } else if recordsFailure(path + "/" + RunFolder.trainLogName) {
            state = .diverged(step: log.lastStep + 1)
        } else {
            state = .unfinished(step: log.lastStep)
        }
        // Of the newest checkpoint what is small; a run without one is a run as well.
        let newest = try? CheckpointStore(run: path).newestGood(
            { ["trainer.json", RunHistory.fileName].contains($0) }, warn: { _ in })
        windowCount = newest?.state.data.windowCount
        history = try RunHistory(of: path, at: newest?.path, warn: warn)
        stateBytes = configuration.optimizerStateBytes
    }

    /// What it counts as: the optimizer, with the variant of it that it is.
    public var optimizer: String { ([configuration.optimizer.name] + variant).joined(separator: " ") }
    /// Settings that make it one of several variants of its optimizer; see `tellApart`.
    fileprivate var variant: [String] = []
    public var learningRate: Double { configuration.optimizer.hyperparameters.lr }
    /// The seeds of the weights and of the data: what runs of one setting differ in.
    public var seed: String { configuration.seeds }

    /// What changed between two of its steps: the run then belongs to no one setting.
    public var changes: [String] { history.changes }

    public var finalLoss: Double? {
        guard state == .finished, let last = log.validations.last, last.step == configuration.steps else { return nil }
        return last.loss
    }
    /// The mean over all steps, so that rare, costly ones count with their share.
    public var optimizerSecondsPerStep: Double { log.optimizerSeconds / Double(max(1, log.lastStep)) }
    public var tokensPerSecond: Double { Double(log.lastTokens) / max(log.seconds, 1e-9) }

    /// The values that must be equal where losses are compared: all but the optimizer's settings, the
    /// seeds, and what changes no number but by rounding.
    public var conditions: [(key: String, value: String)] {
        let free = [
            "data.seed", "data.tokenizer", "training.seed", "training.steps", "training.tokens",
            "training.micro_batch_size", "training.gradient_lanes", "training.gradient_clip",
        ]
        var values = configuration.values.filter { entry in
            !["optimizer.", "schedule."].contains(where: entry.key.hasPrefix) && !free.contains(entry.key)
                && !RunConfiguration.changesNoNumber(entry.key)
        }
        let data = ["data.train": configuration.data.train, "data.validation": configuration.data.validation]
        for index in values.indices {
            // The same data may be named from here or from the root.
            guard let path = data[values[index].key] ?? nil else { continue }
            values[index].value = relativePath(URL(filePath: path).standardizedFileURL.path)
        }
        values.append(("tokens of the whole run", "\(configuration.steps * configuration.tokensPerStep)"))
        for (key, fingerprint) in history.data.sorted(by: { $0.key < $1.key }) {
            values.append(("fingerprint of \(key.replacing("data.", with: "")) tokens", String(fingerprint, radix: 16)))
        }
        if let windowCount { values.append(("windows of the training data", "\(windowCount)")) }
        return values
    }

    /// The values that make an optimizer's setting: runs that agree in them differ in seeds alone.
    public var settings: [(key: String, value: String)] {
        configuration.values.filter {
            $0.key.hasPrefix("optimizer.") || $0.key.hasPrefix("schedule.") || $0.key == "training.gradient_clip"
        }
    }
}

extension RunConfiguration {
    /// Those of the weights and of the data.
    var seeds: String {
        training.seed == data.seed ? "\(data.seed)" : "\(training.seed)/\(data.seed)"
    }
}

private func noRun(_ what: String) -> UserError {
    UserError(
        .usage, "\(what): there is no \(RunFolder.configurationName)",
        hint: "give the folder of a run (output.run_dir), or a folder of runs")
}

/// Whether the last thing that the run said is that its numbers failed: a `RunFailure`, which has two
/// lines. A run that goes on says more.
private func recordsFailure(_ path: String) -> Bool {
    lastLines(of: path).suffix(2).first?.contains("  error: step ") ?? false
}

/// The whole lines in the last 16 KiB of a file.
func lastLines(of path: String) -> [Substring] {
    let text = excerpt(of: path, isEnd: true)
    return text[..<(text.lastIndex(of: "\n") ?? text.startIndex)].split(separator: "\n")
}

/// The first or the last 16 KiB of a file; nothing where it cannot be read.
func excerpt(of path: String, isEnd: Bool = false) -> String {
    guard let file = try? RegularFile(path) else { return "" }
    var bytes = [UInt8](repeating: 0, count: min(file.size, 1 << 14))
    let start = isEnd ? file.size - bytes.count : 0
    let isRead = (try? bytes.withUnsafeMutableBytes { try file.read(at: start, into: $0) }) != nil
    return isRead ? String(decoding: bytes, as: UTF8.self) : ""
}

/// The runs that paths name: folders of runs, and folders that hold such folders.
public func findRuns(_ paths: [String]) throws -> [RunRecord] {
    let folders = try runFolders(paths)
    let bar = ProgressBar("reading", total: folders.count, unit: .items("runs"))
    defer { bar.finish() }
    return try folders.map { folder in
        defer { bar.advance(by: 1) }
        return try RunRecord(path: folder)
    }
}

/// Makes variants of the runs of an optimizer that differ in `keys`, such as `optimizer.rank`: each is compared as an
/// optimizer of its own. A run without the key keeps the optimizer's name.
public func tellApart(_ runs: [RunRecord], by keys: [String]) throws -> [RunRecord] {
    var runs = runs
    for key in keys {
        func value(_ run: RunRecord) -> String? {
            run.settings.first { $0.key == key && $0.value != "null" }?.value
        }
        guard runs.contains(where: { value($0) != nil }) else {
            throw UserError(
                .usage, "no run has the setting \(key), so it makes no variants",
                hint: "settings have their section before them: optimizer.rank, optimizer.adam.lr, schedule.warmup")
        }
        let indices = Dictionary(grouping: runs.indices) { runs[$0].configuration.optimizer.name }.values
        for own in indices where own.map({ value(runs[$0]) }).unique.count > 1 {
            for index in own {
                guard let value = value(runs[index]) else { continue }
                runs[index].variant.append("\(key.replacing("optimizer.", with: ""))=\(value)")
            }
        }
    }
    return runs
}

/// The folders of the runs that paths name, each once. Runs that were set aside (`.old-1`) count only where they
/// are named.
func runFolders(_ paths: [String]) throws -> [String] {
    var folders: [String] = []
    for given in paths {
        let path = given.withoutTrailingSlashes
        guard access(path, F_OK) == 0 else { throw UserError.system("read", path, code: errno) }
        guard isFolder(path) else {
            throw UserError(.usage, "\(path) is a file, not the folder of a run", hint: "give the folder that holds it")
        }
        if RunFolder.holdsRun(path) {
            folders.append(path)
            continue
        }
        let found = try folderContents(path).sorted { $0.compare($1, options: .numeric) == .orderedAscending }
            .filter { !$0.hasPrefix(".") && $0.firstMatch(of: /\.old-\d+$/) == nil }
            .map { Files.path(of: $0, in: path) }.filter(RunFolder.holdsRun)
        if found.isEmpty { throw noRun("\(path) is no run and holds none") }
        folders += found
    }
    var seen: Set<String> = []
    return folders.filter { seen.insert(URL(filePath: $0).resolvingSymlinksInPath().path).inserted }
        .map(relativePath)
}
