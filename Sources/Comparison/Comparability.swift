/// Why runs cannot be ranked, one line each.
///
/// Losses can be compared where the runs saw the same data, as many tokens of it, in the same batches,
/// with the same model, and were evaluated alike at their ends. A diverged run is no obstacle: that a
/// learning rate diverges is a result.
func obstacles(to runs: [RunRecord]) -> [String] {
    func names(_ runs: [RunRecord]) -> String { abridged(runs.map(\.path)) }
    var problems: [String] = []
    for run in runs {
        if run.log.isMissing {
            problems.append("\(run.path) has no log.csv: how it ended is not known")
        } else if case .unfinished(let step) = run.state {
            problems.append("\(run.path) is not finished: its log has \(step) of \(run.configuration.steps) steps")
        }
    }
    let silent = runs.filter { $0.state == .finished && $0.finalLoss == nil }
    if !silent.isEmpty { problems.append("there is no final validation loss (data.validation) in \(names(silent))") }

    if !runs.isEmpty, runs.allSatisfy({ !$0.changes.isEmpty }) { problems += changeRemarks(runs) }

    let conditions = runs.map { Dictionary(uniqueKeysWithValues: $0.conditions.map { ($0.key, $0.value) }) }
    for key in runs.flatMap({ $0.conditions.map(\.key) }).unique {
        // A run without a checkpoint does not say how much data it had.
        let present = runs.indices.filter { conditions[$0][key] != nil || key.contains(".") }
        let values = present.map { conditions[$0][key] ?? "absent" }
        guard values.unique.count > 1 else { continue }
        let list = values.unique.map { value in
            "\(value) in \(names(zip(present, values).filter { $0.1 == value }.map { runs[$0.0] }))"
        }
        problems.append("\(key) differs: " + list.joined(separator: "; "))
    }

    // Two runs of the same settings and seeds have the same numbers: they are one, not two.
    let twins = Dictionary(grouping: runs) { run -> [String] in
        let values = run.settings + run.conditions
        return values.map { "\($0.key)=\($0.value)" } + [run.seed] + run.changes
    }.values.filter { $0.count > 1 }.sorted { $0[0].path < $1[0].path }
    problems += twins.map { "the same settings and seeds, so the same run, are in \(names($0))" }
    return problems
}

extension Array where Element: Hashable {
    /// Each element once, where it stands first.
    var unique: [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
