import Checkpoints
import Console
import Glibc
import Settings
import TokenData

/// What `configuration` changes that the numbers depend on, if it may continue `checkpoint`.
///
/// A resumed run makes the numbers that the run would have made, so whatever would change them is
/// refused, by name. What changes none (threads, output, where the same data lies) is free, and so
/// are the schedule and the length of the run as long as every step made so far had the learning rate
/// that it would have now: a constant schedule can be extended, and so can `wsd` before its decay.
func changesOnResuming(
    _ checkpoint: Checkpoint, _ configuration: RunConfiguration, directory: RunDirectory, data: TokenDataset,
    resetOptimizer: Bool, isFork: Bool
) throws -> [RunHistory.Change] {
    let state = checkpoint.state
    // The checkpoint knows best what made it: a run that was killed soon after a change has the new settings
    // in its folder and none of their steps. Older checkpoints have no copy.
    let files = [checkpoint.path + "/" + Checkpoint.settingsName, directory.configuration]
    guard let file = files.first(where: { access($0, F_OK) == 0 }) else {
        throw UserError(
            .usage,
            "\(directory.configuration) is missing: it says with which settings the run was started, which must "
                + "not change",
            hint: "copy it back, or write the settings of the run there (a configuration with all values in one file)")
    }
    let old = try RunConfiguration(file: file)
    guard state.step <= configuration.steps else {
        throw UserError(
            .usage,
            "the run in \(directory.path) has made \(state.step) steps, more than the \(configuration.steps) asked for",
            hint: "ask for at least as many, or choose another output.run_dir")
    }
    var free = ["data.train", "data.validation", "data.tokenizer"]
    let hasSameRates = (0..<state.step).allSatisfy {
        old.schedule.factor(step: $0, of: old.steps)
            == configuration.schedule.factor(step: $0, of: configuration.steps)
    }
    if hasSameRates { free += ["schedule.", "training.steps", "training.tokens"] }
    func isAmong(_ keys: [String], _ key: String) -> Bool {
        keys.contains { $0.hasSuffix(".") ? key.hasPrefix($0) : key == $0 }
    }
    let differences = configuration.differences(from: old).filter {
        !RunConfiguration.changesNoNumber($0.key) && !isAmong(free, $0.key)
    }
    // A fork is a run of its own, whose history tells what is different.
    let allowed =
        (resetOptimizer || isFork ? ["optimizer.", "schedule.", "training.steps", "training.tokens"] : [])
        + (isFork
            ? [
                "training.batch_size", "training.micro_batch_size", "training.gradient_lanes", "training.gradient_clip",
                "training.precision", "evaluation.",
            ] : [])
    let changes = differences.filter { !isAmong(allowed, $0.key) }
    guard changes.isEmpty else {
        let list = changes.map { "\($0.key) was \($0.old) and is now \($0.new)" }.joined(separator: "; ")
        let isOptimizer = changes.allSatisfy { $0.key.hasPrefix("optimizer.") || $0.key.hasPrefix("schedule.") }
        throw UserError(
            .usage, "the run in \(directory.path) can't be resumed with other settings: \(list)",
            hint: isOptimizer
                ? "resume with the settings of \(directory.configuration), or give up the optimizer's state with "
                    + "--reset-optimizer"
                : "resume with the settings of \(directory.configuration), or begin another run from here with "
                    + "`cosmos-train fork \(directory.path) --set ...`")
    }
    let hint = "resume with the data that the run was started with"
    guard state.data.windowCount == data.windowCount else {
        throw UserError(
            .data,
            "\(configuration.data.train) has \(data.windowCount) windows, but \(state.data.windowCount) when the run "
                + "began", hint: hint)
    }
    guard state.data.contentFingerprint == data.contentFingerprint else {
        throw UserError(.data, "\(configuration.data.train) holds other tokens than when the run began", hint: hint)
    }
    var recorded = differences.map { RunHistory.Change(setting: $0.key, old: $0.old, new: $0.new) }
    if resetOptimizer {
        let steps = state.optimizer.counters["step"] ?? state.step
        recorded.append(RunHistory.Change(setting: "optimizer state", old: "of \(steps) steps", new: "zero"))
    }
    return recorded
}
