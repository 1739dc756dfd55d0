import Checkpoints
import Configuration
import Console
import Files
import Foundation
import Settings
import TensorCore
import Training

/// The runs of a sweep: every combination of the values of some keys, each with every seed.
///
/// All of it is checked before the first run begins: keys and values by the program's own reading of
/// configurations, and that folders which are there already hold these very runs.
public struct SweepPlan: Sendable {
    public struct Run: Sendable {
        public let name: String
        public let folder: String
        public let configuration: RunConfiguration
    }

    /// A key with its values, as YAML, and where they were given.
    private struct Axis {
        let key: String
        let values: [String]
        let source: String
    }

    public let folder: String
    public let runs: [Run]
    /// With those of other shards, which work in the same folder.
    let allRuns: [Run]
    let isShard: Bool
    let keys: [String]
    /// Whether optimizers are compared. The configuration's `optimizer` section is then ignored: it would favour its own
    /// optimizer.
    public let leavesOptimizerOut: Bool

    private static let mostRuns = 10_000

    /// - Parameters:
    ///   - base: the configuration file.
    ///   - assignments: `section.key=value` each, for all runs.
    ///   - vary: `section.key=value,value,...` each.
    ///   - gridFile: a YAML file with a section for each optimizer: its keys with lists of values.
    ///   - seeds: this many seeds from 1 on, each for the weights and for the data.
    ///   - threads: worker threads of a run; nil: as the configuration says.
    ///   - shard: its runs alone are made, every `count`-th from number `index` on, counted from 1.
    public init(
        base: String, assignments: [String], vary: [String], gridFile: String?, seeds: Int?, folder: String,
        threads: Int?, shard: (index: Int, count: Int) = (1, 1)
    ) throws {
        self.folder = folder.withoutTrailingSlashes
        let common = try vary.map(Self.axis)
        var grids = try gridFile.map(Self.grids) ?? [[]]
        grids = grids.map { $0 + common }
        guard grids.contains(where: { !$0.isEmpty }) || seeds != nil else {
            throw UserError(
                .usage, "the grid is empty: nothing varies",
                hint:
                    "for example --vary optimizer.lr=1e-3,2e-3, or --seeds 3, or --file with a grid for each optimizer")
        }
        let settings = try assignments.map(Self.setting)
        grids = grids.map { $0 + settings }
        for grid in grids { try Self.checkKeys(grid, hasSeeds: seeds != nil) }
        let count = grids.reduce(0) { sum, grid in
            sum + grid.reduce(seeds ?? 1) { min($0 * $1.values.count, 1 << 30) }
        }
        guard count <= Self.mostRuns else {
            throw UserError(
                .usage, "the grid has \(Format.grouped(count)) runs, more than \(Format.grouped(Self.mostRuns))",
                hint: "vary fewer keys at once, or give them fewer values")
        }
        let names = grids.joined().filter { $0.key == "optimizer.name" }.flatMap(\.values)
        leavesOptimizerOut =
            names.unique.count > 1 || grids.joined().contains { $0.key == "optimizer" && $0.values.count > 1 }
        keys = grids.joined().map(\.key).unique
        let named = Self.namedKeys(grids, hasSeeds: seeds != nil)
        var runs: [Run] = []
        for grid in grids {
            for combination in Self.combinations(of: grid) {
                for seed in seeds.map({ Array(1...$0) as [Int?] }) ?? [nil] {
                    let run = try Self.run(
                        combination, of: grid, seed: seed, base: base,
                        leavingOut: leavesOptimizerOut ? "optimizer" : nil,
                        folder: self.folder, threads: threads, named: named)
                    guard !runs.contains(where: { $0.name == run.name }) else {
                        throw UserError(
                            .usage, "the grid has the run \(run.name) twice",
                            hint: "a value stands in it twice, perhaps in two ways of writing (1e-3, 0.001)")
                    }
                    runs.append(run)
                }
            }
        }
        (allRuns, isShard) = (runs, shard.count > 1)
        self.runs = runs.enumerated().filter { $0.offset % shard.count == shard.index - 1 }.map(\.element)
        for run in self.runs { try Self.checkExisting(run) }
    }

    /// Reads `section.key=value,value`. Commas within brackets or braces do not separate.
    private static func axis(_ text: String) throws -> Axis {
        let (key, list) = parts(text)
        guard let list, !key.isEmpty else {
            throw UserError(
                .usage, "--vary \(text): not of the form section.key=value,value",
                hint: "for example --vary optimizer.lr=1e-3,2e-3")
        }
        var values = [""]
        var depth = 0
        for character in list {
            depth += "[{".contains(character) ? 1 : "]}".contains(character) ? -1 : 0
            if character == ",", depth == 0 { values.append("") } else { values[values.count - 1].append(character) }
        }
        values = values.map { $0.trimmingCharacters(in: .whitespaces) }
        guard !values.contains("") else {
            throw UserError(
                .usage, "--vary \(text): the grid is empty: a value is missing", hint: "put values between commas")
        }
        return Axis(key: key, values: values, source: "--vary \(key)")
    }

    /// Reads `section.key=value`, which all runs have.
    private static func setting(_ text: String) throws -> Axis {
        _ = try ConfigurationNode(assignment: text)
        let (key, value) = parts(text)
        return Axis(key: key, values: [value ?? ""], source: "--set \(key)")
    }

    private static func parts(_ text: String) -> (key: String, value: String?) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return (parts[0].trimmingCharacters(in: .whitespaces), parts.count == 2 ? String(parts[1]) : nil)
    }

    /// Reads the grids of a file: `adamw:` with `optimizer.lr: [1.0e-3, 2.0e-3]` below it, and so on.
    private static func grids(_ file: String) throws -> [[Axis]] {
        let entries = try ConfigurationNode(contentsOfFile: file).entries ?? []
        guard !entries.isEmpty else {
            throw UserError(
                .usage, "\(file): the grid is empty",
                hint: "write a section for each optimizer: `adamw:`, and below it `optimizer.lr: [1.0e-3, 2.0e-3]`")
        }
        return try entries.map { optimizer in
            let keys = optimizer.value.entries ?? []
            guard optimizer.value.isNull || optimizer.value.entries != nil else {
                throw UserError(
                    .usage, "\(optimizer.source): \(optimizer.key): \(optimizer.value.summary) is not a section",
                    hint: "write keys with lists of values below it, such as `optimizer.lr: [1.0e-3, 2.0e-3]`")
            }
            return [Axis(key: "optimizer.name", values: [optimizer.key], source: optimizer.source)]
                + (try keys.map { entry in
                    let values: [ConfigurationNode]
                    if case .list(let items) = entry.value.kind { values = items } else { values = [entry.value] }
                    guard !values.isEmpty, !values.contains(where: { $0.isNull || $0.entries != nil }) else {
                        throw UserError(
                            .usage, "\(entry.source): \(entry.key): the grid is empty",
                            hint: "give a list of values: \(entry.key): [1.0e-3, 2.0e-3]")
                    }
                    return Axis(key: entry.key, values: values.map(\.summary), source: entry.source)
                })
        }
    }

    /// Refuses keys that are given twice, that contain each other, or that the sweep sets itself.
    private static func checkKeys(_ grid: [Axis], hasSeeds: Bool) throws {
        for (index, axis) in grid.enumerated() {
            if ["output.run_dir", "training.threads", "base"].contains(axis.key) {
                throw UserError(
                    .usage, "\(axis.source): \(axis.key) cannot be given: the sweep sets it itself",
                    hint: "--out names the folder of the runs, --threads and --jobs share the cores among them")
            }
            if hasSeeds, ["training.seed", "data.seed"].contains(axis.key) {
                throw UserError(
                    .usage, "\(axis.source): \(axis.key) overlaps with --seeds, which sets training.seed and data.seed",
                    hint: "give one of the two")
            }
            let other = grid[..<index].first {
                $0.key == axis.key || $0.key.hasPrefix(axis.key + ".") || axis.key.hasPrefix($0.key + ".")
            }
            if let other {
                throw UserError(
                    .usage,
                    "\(axis.source): \(axis.key) "
                        + (other.key == axis.key ? "is given twice" : "overlaps with \(other.key)")
                        + ": here and in \(other.source)",
                    hint: "give each key once, with all its values")
            }
        }
    }

    private static func combinations(of grid: [Axis]) -> [[(key: String, value: String)]] {
        grid.reduce([[]]) { combinations, axis in
            combinations.flatMap { combination in axis.values.map { combination + [(axis.key, $0)] } }
        }
    }

    /// The keys whose values make the name of a run's folder, with what precedes each value there: the key's last part, or
    /// all of it where two keys share that part. They are the keys that vary, and the optimizer; where nothing varies, all.
    private static func namedKeys(_ grids: [[Axis]], hasSeeds: Bool) -> [String: String] {
        let varied = grids.joined().filter { $0.values.count > 1 || $0.key == "optimizer.name" }
        let named = varied.isEmpty && !hasSeeds ? grids.joined().filter { !$0.source.hasPrefix("--set") } : varied
        let keys = Set(named.map(\.key))
        func shortName(_ key: String) -> String { key.split(separator: ".").last.map(String.init) ?? key }
        return Dictionary(
            uniqueKeysWithValues: keys.map { key in
                let isAmbiguous = keys.contains { $0 != key && shortName($0) == shortName(key) }
                return (key, key == "optimizer.name" ? "" : isAmbiguous ? key : shortName(key))
            })
    }

    private static func run(
        _ combination: [(key: String, value: String)], of grid: [Axis], seed: Int?, base: String,
        leavingOut section: String?, folder: String, threads: Int?, named: [String: String]
    ) throws -> Run {
        var assignments = combination.map { "\($0.key)=\($0.value)" }
        if let seed { assignments += ["training.seed=\(seed)", "data.seed=\(seed)"] }
        if let threads { assignments.append("training.threads=\(threads)") }
        var configuration: RunConfiguration
        do {
            configuration = try RunConfiguration(
                file: base, assignments: assignments + ["output.run_dir=unnamed"], leavingOut: section)
            if let error = configuration.unsupportedPrecision { throw error }
        } catch let error as UserError {
            let values = combination.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
            // Assignments are named as the user gave them.
            let message = grid.reduce(error.message) { $0.replacing("--set \($1.key):", with: "\($1.source):") }
            throw UserError(
                error.kind, message + (values.isEmpty ? "" : " (in the run with \(values))"), hint: error.hint)
        }
        // Values as the program writes them, so that 1e-3 and 0.001 are one run.
        let canonical = Dictionary(uniqueKeysWithValues: configuration.values.map { ($0.key, $0.value) })
        var parts = combination.compactMap { key, value in named[key].map { $0 + (canonical[key] ?? value) } }
        if let seed { parts.append("seed\(seed)") }
        let name = String(
            parts.joined(separator: "-").map { character in
                character.isASCII && (character.isLetter || character.isNumber || "._+-".contains(character))
                    ? character : "_"
            })
        configuration.output.runDirectory = path(of: name, in: folder)
        return Run(name: name, folder: configuration.output.runDirectory, configuration: configuration)
    }

    /// Refuses a folder that holds another run than the one that is planned.
    private static func checkExisting(_ run: Run) throws {
        if let changes = try RunHistory(in: run.folder)?.changes, !changes.isEmpty {
            throw UserError(
                .usage, "\(run.folder) holds a run that changed on the way: \(changes.joined(separator: "; "))",
                hint: "move that folder away: a run of the sweep is of one setting")
        }
        let file = run.folder + "/" + RunFolder.configurationName
        guard FileManager.default.fileExists(atPath: file) else { return }
        let changes = run.configuration.differences(from: try RunConfiguration(file: file)).filter {
            !RunConfiguration.changesNoNumber($0.key)
        }
        guard changes.isEmpty else {
            let list = changes.map { "\($0.key) was \($0.old) and is now \($0.new)" }.joined(separator: "; ")
            throw UserError(
                .usage, "\(run.folder) holds a run with other settings: \(list)",
                hint: "choose another --out, or remove that folder")
        }
    }
}
