import Console
import Foundation

extension Comparison {
    var tables: [Table] {
        let all =
            best.isEmpty
            ? [Table(title: "Not ranked", header: [], remarks: problems), runTable, noteTable]
            : [optimizerTable, testTable, targetTable, settingTable, noteTable]
        return all.filter { !$0.rows.isEmpty || !$0.remarks.isEmpty }
    }

    public var text: String { tables.map(\.text).joined(separator: "\n") }
    public var latex: String { tables.map(\.latex).joined(separator: "\n") }
    public var markdown: String { tables.map(\.markdown).joined(separator: "\n") }

    private var optimizerTable: Table {
        let hasLabels = best.contains { !$0.label.isEmpty }
        var table = Table(
            title: "Optimizers at their best settings, by final validation loss",
            header: ["", "optimizer", "best lr"] + (hasLabels ? ["other settings"] : [])
                + ["loss", "sd", "n", "perplexity", "state", "optimizer s/step", "tokens/s"])
        table.textColumns = hasLabels ? [1, 3] : [1]
        table.rows = best.enumerated().map { rank, setting in
            ["\(rank + 1)", setting.optimizer, "\(setting.learningRate)"] + (hasLabels ? [setting.label] : [])
                + [
                    nats(setting.losses.mean), setting.losses.standardDeviation.map(nats) ?? "-",
                    "\(setting.losses.count)", String(format: "%.2f", exp(setting.losses.mean)),
                    Format.bytes(setting.stateBytes), significant(setting.optimizerSecondsPerStep),
                    Format.rate(setting.tokensPerSecond),
                ]
        }
        let tied = tests.prefix(max(0, best.count - 1)).filter {
            !($0.adjustedP.map { $0 < Self.significance } ?? false)
        }
        if !tests.isEmpty, tests.allSatisfy({ $0.adjustedP == nil }) {
            table.remarks.append(
                "No difference could be tested: that takes two seeds or more. The order may be chance.")
        } else if !tied.isEmpty {
            table.remarks.append(
                "No significant difference between \(best[0].optimizer) and \(tied.map(\.second).joined(separator: ", ")): "
                    + "the order among them may be chance.")
        }
        table.remarks += caveats.map { "- " + $0 }
        return table
    }

    private var testTable: Table {
        var table = Table(
            title: "Differences of the mean losses (Welch's t-test, Holm's correction, level \(Self.significance))",
            header: ["first", "second", "difference", "t", "df", "p (Holm)", ""])
        table.textColumns = [0, 1, 6]
        table.rows = tests.map { pair in
            let verdict: String
            if let p = pair.adjustedP {
                verdict = p < Self.significance ? "significant" : "not significant"
            } else {
                let counts = [pair.first, pair.second].map { name in
                    best.first { $0.optimizer == name }?.losses.count ?? 0
                }
                verdict = counts.contains(1) ? "no test is possible with one seed" : "no test: the seeds do not differ"
            }
            return [
                pair.first, pair.second, String(format: "%+.4f", pair.difference),
                pair.test.map { String(format: "%.2f", $0.t) } ?? "-",
                pair.test.map { String(format: "%.1f", $0.degreesOfFreedom) } ?? "-",
                pair.adjustedP.map(probability) ?? "-", verdict,
            ]
        }
        if !tests.isEmpty, settings.count > best.count {
            table.remarks = [
                "The best setting is chosen by the same losses that are tested, which favours optimizers with many settings."
            ]
        }
        return table
    }

    private var targetTable: Table {
        guard let target else { return Table(title: "", header: []) }
        let showsSpeedUp = speedUp?.fit != nil
        var table = Table(
            title: "Reaching a validation loss of \(nats(target.loss)), \(target.meaning)",
            header: ["optimizer", "reached", "step", "tokens", "training time", "share of the run"]
                + (showsSpeedUp ? ["speed-up over adamw", "leaving one out"] : []))
        for setting in best {
            let crossings = setting.runs.compactMap { TargetCrossing($0.log.validations, loss: target.loss) }
            let total = Double(setting.runs[0].log.lastTokens)
            let mean = { (value: (TargetCrossing) -> Double) in Sample(crossings.map(value)).mean }
            var row = [setting.optimizer, "\(crossings.count) of \(setting.runs.count)"]
            row +=
                crossings.isEmpty
                ? ["-", "-", "-", "-"]
                : [
                    Format.grouped(Int(mean(\.step).rounded())), Format.count(Int(mean(\.tokens))),
                    Format.duration(mean(\.seconds)), String(format: "%.0f %%", 100 * mean(\.tokens) / total),
                ]
            if showsSpeedUp { row += speedUpCells(setting.optimizer) }
            table.rows.append(row)
        }
        table.remarks = [
            "Means over the runs that reached it, between validations by a straight line. Before the end of a run a "
                + "falling learning rate has not come down: a run planned for that length would have been there earlier."
        ]
        if let speedUp { table.remarks += speedUpRemarks(speedUp) }
        return table
    }

    private func speedUpCells(_ optimizer: String) -> [String] {
        guard let estimate = speedUp?.estimates.first(where: { $0.optimizer == optimizer }) else { return ["1", ""] }
        let ratio = estimate.ratio.map { String(format: "%.2f", $0) } ?? "no amount of data"
        return [
            ratio + (estimate.isExtrapolated && estimate.ratio != nil ? " *" : ""),
            estimate.range.map { String(format: "%.2f to %.2f", $0.lowerBound, $0.upperBound) } ?? "not stable",
        ]
    }

    private func speedUpRemarks(_ speedUp: SpeedUp) -> [String] {
        if let problem = speedUp.problem { return ["Speed-up over AdamW in tokens: \(problem)."] }
        guard let fit = speedUp.fit else { return [] }
        var remarks = [
            String(
                format:
                    "Speed-up: the tokens D at which AdamW's fit L(D) = %.4g D^-%.4f + %.4f has the optimizer's loss, "
                    + "over its tokens. The fit rests on %ld losses from %@ to %@ tokens and misses them by at most %.4f.",
                fit.a, fit.b, fit.c, speedUp.points.count, Format.count(Int(speedUp.points[0].tokens)),
                Format.count(Int(speedUp.points[speedUp.points.count - 1].tokens)), fit.largestError)
        ]
        if speedUp.estimates.contains(where: \.isExtrapolated) {
            remarks.append("* beyond the points of the fit: an extrapolation.")
        }
        return remarks
    }

    private var settingTable: Table {
        let hasLabels = settings.contains { !$0.label.isEmpty }
        let rows = settings.map { setting in
            [setting.optimizer, "\(setting.learningRate)"] + (hasLabels ? [setting.label] : [])
                + [
                    setting.losses.count > 0 ? nats(setting.losses.mean) : "-",
                    setting.losses.standardDeviation.map(nats) ?? "-", "\(setting.losses.count)",
                    setting.divergedCount > 0 ? "\(setting.divergedCount)" : "",
                    best.contains { $0.runs[0].path == setting.runs[0].path } ? "best" : "",
                ]
        }
        return Table(
            title: "All settings",
            header: ["optimizer", "lr"] + (hasLabels ? ["other settings"] : []) + ["loss", "sd", "n", "diverged", ""],
            rows: rows, textColumns: hasLabels ? [0, 2, 7] : [0, 6])
    }

    var runTable: Table {
        let rows = runs.map { run in
            [
                run.path, run.optimizer, "\(run.learningRate)", run.seed, run.state.name,
                "\(run.log.lastStep)/\(run.configuration.steps)", Format.count(run.log.lastTokens),
                run.log.validations.last.map { nats($0.loss) } ?? "-", Format.duration(run.log.seconds),
                Format.bytes(run.log.peakRSSBytes),
            ]
        }
        return Table(
            title: best.isEmpty ? "Runs, unranked" : "Runs",
            header: [
                "run", "optimizer", "lr", "seed", "state", "step", "tokens", "validation loss", "training time",
                "peak memory",
            ], rows: rows, remarks: best.isEmpty ? changeRemarks(runs).map { "- " + $0 } : [], textColumns: [0, 1, 4])
    }

    private var noteTable: Table { Table(title: "Notes", header: [], remarks: notes.map { "- " + $0 }) }
}

extension RunRecord.State {
    public var name: String {
        switch self {
        case .finished: "finished"
        case .unfinished: "unfinished"
        case .diverged: "diverged"
        }
    }
}

func nats(_ loss: Double) -> String { String(format: "%.4f", loss) }

func significant(_ value: Double) -> String {
    guard value.isFinite, value != 0 else { return value == 0 ? "0" : "-" }
    let decimals = max(0, 2 - Int(log10(abs(value)).rounded(.down)))
    return String(format: "%.\(min(decimals, 9))f", value)
}

private func probability(_ p: Double) -> String { p < 0.0001 ? "< 0.0001" : String(format: "%.4f", p) }
