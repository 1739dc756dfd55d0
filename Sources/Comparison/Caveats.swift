import Training

/// What a reader of the ranking must know, one sentence each.
func rankingCaveats(settings: [Comparison.Setting], best: [Comparison.Setting]) -> [String] {
    guard !best.isEmpty else { return [] }
    var caveats = changeRemarks(settings.flatMap(\.runs))
    let ranked = Set(best.map(\.optimizer))
    for optimizer in settings.map(\.optimizer).unique where !ranked.contains(optimizer) {
        let own = settings.filter { $0.optimizer == optimizer }
        caveats.append(
            "\(optimizer) has no place in the ranking: "
                + (own.allSatisfy(\.isChanged)
                    ? "all its runs were changed on the way" : "it has no setting without a diverged run"))
    }
    for winner in best {
        let rates = settings.filter { $0.optimizer == winner.optimizer && !$0.isChanged }.map(\.learningRate).unique
            .sorted()
        if rates.count == 1 {
            caveats.append("\(winner.optimizer) was run at one learning rate only: it may have a better one")
        } else if winner.learningRate == rates.first || winner.learningRate == rates.last {
            let end = winner.learningRate == rates.first ? "lowest" : "highest"
            caveats.append(
                "the best learning rate of \(winner.optimizer), \(winner.learningRate), is the \(end) that was "
                    + "tried: a better one may lie beyond")
        }
    }
    return caveats + [unequalSettings(best)].compactMap { $0 }
}

/// The runs whose settings changed on the way, and those of which that is not known.
func changeRemarks(_ runs: [RunRecord]) -> [String] {
    let unknown = runs.filter { !$0.history.isWhole }.map(\.path)
    return runs.filter { !$0.changes.isEmpty }.map {
        "\($0.path) gets no rank, for it is not of one setting: " + $0.changes.joined(separator: "; ")
    }
        + (unknown.isEmpty
            ? []
            : [
                "whether settings changed on the way is not known of \(abridged(unknown)): there is no whole "
                    + "\(RunHistory.fileName), as where an older version began the run"
            ])
}

/// Settings of the same name that differ among the best settings: a difference of losses may come from them. The
/// learning rates are in the table.
private func unequalSettings(_ best: [Comparison.Setting]) -> String? {
    let settings = best.map { setting in
        (setting.optimizer, setting.runs[0].settings.filter { $0.value != "null" })
    }
    let keys = settings.flatMap { $0.1.map(\.key) }.unique.filter { !["optimizer.name", "optimizer.lr"].contains($0) }
    let differing = keys.compactMap { key -> String? in
        let values = settings.compactMap { name, values in values.first { $0.key == key }.map { (name, $0.value) } }
        guard values.map(\.1).unique.count > 1 else { return nil }
        let list = values.map(\.1).unique.map { value in
            values.filter { $0.1 == value }.map(\.0).joined(separator: " and ") + " " + value
        }
        return "\(key.replacing("optimizer.", with: "")) (\(list.joined(separator: ", ")))"
    }
    let own = Set(settings.filter { $0.1.contains { $0.key == "optimizer.adam.lr" } }.map(\.0))
    let whole = settings.map(\.0).filter { !own.contains($0) }
    let parts =
        (differing.isEmpty ? [] : ["settings of the same name differ: " + differing.joined(separator: ", ")])
        + (own.isEmpty || whole.isEmpty
            ? []
            : [
                "\(whole.joined(separator: ", ")) \(whole.count == 1 ? "has" : "have") one lr for all parameters, the "
                    + "others have adam.lr for embedding, lm_head and norm gains"
            ])
    return parts.isEmpty ? nil : parts.joined(separator: "; ")
}

/// What a reader should know about single runs and the measured times.
func runNotes(settings: [Comparison.Setting], runs: [RunRecord]) -> [String] {
    var notes = runs.compactMap { $0.log.caveat($0.path) }
    let threads = runs.map(\.configuration.training.threads).unique
    if threads.count > 1 {
        notes.append(
            "training.threads differs (\(threads.sorted().map(String.init).joined(separator: ", "))): "
                + "times and tokens/s cannot be compared")
    }
    // A run may have gone on with another program than it began with.
    let makers = runs.flatMap { $0.history.events.compactMap { $0.madeBy?.rows.filter { $0.name != "threads" } } }
    let differing = (makers.first ?? []).map(\.name).compactMap { name -> String? in
        let values = makers.compactMap { $0.first { $0.name == name }?.value }.unique
        return values.count > 1 ? "\(name): \(values.joined(separator: " or "))" : nil
    }
    if !differing.isEmpty {
        notes.append(
            "the runs, or parts of one, were not made alike (\(differing.joined(separator: "; "))): times and tokens/s cannot be "
                + "compared, losses only up to rounding and changes of the program")
    }
    let shared = sharingRuns(runs)
    if shared > 0 {
        notes.append(
            "\(shared) of the \(runs.count) runs were under way at the same time as another one on the same machine: "
                + "times and tokens/s are those of a shared machine")
    }
    for setting in settings where setting.divergedCount > 0 {
        notes.append(
            "\(setting.optimizer) with lr \(setting.learningRate)\(setting.label.isEmpty ? "" : ", " + setting.label)"
                + " diverged in \(setting.divergedCount) of \(setting.runs.count) runs, so it cannot be the best")
    }
    return notes
}

/// The number of runs of which some time was also another one's, on the same host.
private func sharingRuns(_ runs: [RunRecord]) -> Int {
    let periods = runs.indices.flatMap { index in runs[index].history.periods.map { (index, $0) } }
    var sharing: Set<Int> = []
    for own in Dictionary(grouping: periods, by: \.1.host).values.map({ $0.sorted { $0.1.start < $1.1.start } }) {
        // Of those that began before, the one that ends last.
        var last: (index: Int, end: String)?
        for (index, period) in own {
            if let last, period.start < last.end, index != last.index { sharing.formUnion([index, last.index]) }
            if period.end > last?.end ?? "" { last = (index, period.end) }
        }
    }
    return sharing.count
}

package func abridged(_ names: [String]) -> String {
    names.prefix(3).joined(separator: ", ") + (names.count > 3 ? " and \(names.count - 3) more" : "")
}
