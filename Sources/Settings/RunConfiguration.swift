import Checkpoints
import Configuration
import Console
import Files
import Foundation
import LLaMA
import Optimizers

/// Everything that a run is: the content of a configuration file.
///
/// Defaults, then the file's `base`, then the file, then the assignments of the command line. What
/// is impossible is refused with file, line, value and a hint.
public struct RunConfiguration: Sendable {
    public var model = LLaMAConfig()
    public var data = DataSettings()
    public var optimizer = OptimizerConfiguration(AdamW())
    public var schedule = LearningRateSchedule()
    public var training = TrainingSettings()
    public var evaluation = EvaluationSettings()
    public var output = OutputSettings()

    /// Reads a configuration file and puts assignments (`section.key=value`) on top. `leavingOut` names a
    /// section of the file that does not count.
    public init(file: String, assignments: [String] = [], leavingOut section: String? = nil) throws {
        var root = try loadLayers(file)
        if let section { root = root.removing(section) }
        // One layer for all assignments, so that their order does not matter.
        if var changes = try assignments.first.map(ConfigurationNode.init(assignment:)) {
            for assignment in assignments.dropFirst() {
                changes = changes.overlaid(by: try ConfigurationNode(assignment: assignment))
            }
            if changes["base"] != nil {
                throw UserError(
                    .usage, "--set base: only a file can rest on another one",
                    hint: "name the file with --config, or write `base: FILE` in it")
            }
            root = overlay(root, changes)
        }
        try self.init(root)
    }

    /// Decodes a configuration whose layers are already one.
    public init(_ root: ConfigurationNode) throws {
        let known = Self.table.map(\.name)
        for entry in root.entries ?? [] where !known.contains(entry.key) {
            throw unknownKey(entry, name: entry.key, known: known + ["base"])
        }
        // A section that is absent is an empty one, which says what it lacks.
        func section(_ name: String) -> ConfigurationNode {
            root[name] ?? ConfigurationNode(.map([]), source: root.source)
        }
        let initial = root["training"]?["init_from"]
        let folder = root["model"] == nil && initial?.isNull == false ? initial?.text : nil
        if let folder { model = try ModelFolder(folder).config }
        // The optimizer's defaults follow the precision of training, so it is read last.
        for entry in Self.table.filter({ $0.name != "optimizer" }) + Self.table.filter({ $0.name == "optimizer" })
        where entry.name != "model" || folder == nil {
            try entry.decode(section(entry.name), &self)
        }
        try checkRelations(section)
    }

    /// Tokens of one optimizer step; with a document a sequence, positions, padding included.
    public var tokensPerStep: Int { training.batchSize * data.sequenceLength }

    public var steps: Int {
        training.steps ?? ((training.tokens ?? 0) + tokensPerStep - 1) / tokensPerStep
    }

    /// Every value in order, under "section.key", as YAML.
    public var values: [(key: String, value: String)] {
        Self.table.flatMap { section in section.values(self).map { ("\(section.name).\($0.key)", $0.value) } }
    }

    /// The keys whose values differ from an older configuration's, with both values.
    public func differences(from old: RunConfiguration) -> [(key: String, old: String, new: String)] {
        let (before, after) = (old.values, values)
        let beforeByKey = Dictionary(uniqueKeysWithValues: before.map { ($0.key, $0.value) })
        let afterKeys = Set(after.map(\.key))
        return after.compactMap { key, value in
            beforeByKey[key] == value ? nil : (key, beforeByKey[key] ?? "absent", value)
        } + before.filter { !afterKeys.contains($0.key) }.map { ($0.key, $0.value, "absent") }
    }

    /// Whether a setting changes none of a run's numbers: how they are computed, how often they are looked at, what is
    /// left of the run.
    package static func changesNoNumber(_ key: String) -> Bool {
        key.hasPrefix("output.")
            || [
                "training.threads", "training.bind_threads", "training.recompute", "training.layerwise_updates",
                "training.optimizer_scratch_mib", "training.communication_timeout", "evaluation.every",
            ].contains(key)
    }

    /// The configuration with every default written out and explained. It decodes to this one.
    public var yaml: String {
        let unit = data.packing == .stream ? "tokens" : "positions"
        return "# \(steps) steps of \(tokensPerStep) \(unit): \(steps * tokensPerStep) in all.\n"
            + Self.table.map { "\n\($0.name):\n\($0.yaml(self))" }.joined()
    }

    /// Checks what no section can check alone.
    private func checkRelations(_ section: (String) -> ConfigurationNode) throws {
        func failure(_ name: String, _ key: String, _ problem: String, _ hint: String) -> UserError {
            let node = section(name)
            return UserError(.usage, "\(node[key]?.source ?? node.source): \(name).\(key): \(problem)", hint: hint)
        }
        guard data.sequenceLength <= model.maxPositionEmbeddings else {
            throw failure(
                "data", "sequence_length",
                "\(data.sequenceLength) is more than model.max_position_embeddings, \(model.maxPositionEmbeddings)",
                "make it at most \(model.maxPositionEmbeddings), or raise model.max_position_embeddings")
        }
        guard training.microBatchSize <= (1 << 24) / data.sequenceLength else {
            throw failure(
                "training", "micro_batch_size",
                "\(training.microBatchSize) sequences of \(data.sequenceLength) tokens are more than can be computed "
                    + "at once, \(1 << 24) tokens", "choose a smaller one: results change by rounding alone")
        }
        guard steps <= (1 << 60) / tokensPerStep else {
            throw failure(
                "training", "steps", "\(steps) steps of \(tokensPerStep) tokens are more than can be counted",
                "train for fewer steps")
        }
        guard data.packing == .stream || training.tokens == nil else {
            throw failure(
                "training", "tokens", "documents differ in length, so tokens do not say how many steps to make",
                "give training.steps with data.packing false")
        }
        if let error = schedule.problem(forRunOf: steps) {
            throw failure("schedule", error.key, error.problem, "shorten it, or train for more steps")
        }
    }
}

extension RunConfiguration {
    /// The settings of the run in a folder; where its file is missing or does not read, those that `checkpoint` has a
    /// copy of, and `warn` is told.
    public init(
        run folder: String, checkpoint: () throws -> String?, assignments: [String] = [], warn: (String) -> Void
    ) throws {
        let file = path(of: RunFolder.configurationName, in: folder)
        do { _ = try RunConfiguration(file: file) } catch let error as UserError {
            let copy = try checkpoint().map { path(of: Checkpoint.settingsName, in: $0) }
            guard let copy, access(copy, F_OK) == 0 else { throw error }
            warn("\(error.message); the settings are taken from \(copy)")
            self = try RunConfiguration(file: copy, assignments: assignments)
            return
        }
        self = try RunConfiguration(file: file, assignments: assignments)
    }
}

extension ModelFolder {
    /// The configuration of the run that made the checkpoint; nil where it is none of ours, or does not say.
    public func runConfiguration(warn: (String) -> Void) throws -> RunConfiguration? {
        let run = folderAndName(of: folderAndName(of: path).folder).folder
        let copy = "\(path)/\(Checkpoint.settingsName)"
        guard isCheckpoint else { return nil }
        if access("\(run)/\(RunFolder.configurationName)", F_OK) == 0 {
            return try RunConfiguration(run: run, checkpoint: { path }, warn: warn)
        }
        // A checkpoint may have been copied to a place of its own.
        return access(copy, F_OK) == 0 ? try RunConfiguration(file: copy) : nil
    }
}

/// Reads a file and, below it, the file that its `base` names, relative to the file's folder.
private func loadLayers(_ file: String, above: [String] = []) throws -> ConfigurationNode {
    let root = try ConfigurationNode(contentsOfFile: file)
    guard let node = root["base"] else { return root }
    guard let name = node.text, !node.isNull, String.isPath(name) else {
        throw UserError(
            .usage, "\(node.source): base: \(node.summary) is not a file", hint: "for example llama130m.cfg")
    }
    let base = name.hasPrefix("/") ? name : path(of: name, in: folderAndName(of: file).folder)
    let files = above + [URL(filePath: file).resolvingSymlinksInPath().path]
    guard !files.contains(URL(filePath: base).resolvingSymlinksInPath().path) else {
        throw UserError(.usage, "\(node.source): base: \(name) rests on this file in turn", hint: "remove one `base`")
    }
    do {
        return overlay(try loadLayers(base, above: files), root.removing("base"))
    } catch let error as UserError where error.kind == .inputOutput {
        throw UserError(.usage, "\(node.source): base: \(error.message)", hint: error.hint)
    }
}

/// `upper` on top of `lower`. Settings of another optimizer make no sense, so a change of its name
/// replaces the whole section; and steps or tokens, whichever is given last, replace the other.
func overlay(_ lower: ConfigurationNode, _ upper: ConfigurationNode) -> ConfigurationNode {
    var lower = lower
    if let old = lower["optimizer"]?["name"]?.text, let new = upper["optimizer"]?["name"]?.text, old != new {
        lower = lower.removing("optimizer")
    }
    if let given = upper["training"] {
        for (key, other) in [("steps", "tokens"), ("tokens", "steps")] where given[key] != nil && given[other] == nil {
            lower = lower.replacing("training") { $0.removing(other) }
        }
    }
    return lower.overlaid(by: upper)
}
