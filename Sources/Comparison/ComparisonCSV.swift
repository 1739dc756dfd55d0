import Foundation

extension Comparison {
    /// One line for each setting, in full precision: for programs.
    public var csv: String {
        let columns = [
            "optimizer", "lr", "other_settings", "rank", "runs", "finished", "diverged", "validation_loss_mean",
            "validation_loss_sd", "perplexity", "state_bytes", "optimizer_seconds_per_step", "tokens_per_second",
            "peak_rss_bytes", "holm_p_against_first", "target_loss", "runs_that_reached_target", "tokens_to_target",
            "speed_up_over_adamw",
        ]
        let rows = settings.map { setting -> [String] in
            let rank = best.firstIndex { $0.runs[0].path == setting.runs[0].path }
            let test = tests.first { rank != nil && $0.first == best[0].optimizer && $0.second == setting.optimizer }
            let crossings = setting.runs.compactMap { run in
                target.flatMap { TargetCrossing(run.log.validations, loss: $0.loss) }
            }
            let estimate = rank == nil ? nil : speedUp?.estimates.first { $0.optimizer == setting.optimizer }
            func number(_ value: Double?) -> String { value.map { $0.isFinite ? "\($0)" : "" } ?? "" }
            return [
                setting.optimizer, number(setting.learningRate), setting.label, rank.map { "\($0 + 1)" } ?? "",
                "\(setting.runs.count)", "\(setting.losses.count)", "\(setting.divergedCount)",
                number(setting.losses.mean), number(setting.losses.standardDeviation),
                number(exp(setting.losses.mean)), "\(setting.stateBytes)", number(setting.optimizerSecondsPerStep),
                number(setting.tokensPerSecond), "\(setting.runs.map(\.log.peakRSSBytes).max() ?? 0)",
                number(test?.adjustedP), number(target?.loss), "\(crossings.count)",
                crossings.isEmpty ? "" : number(Sample(crossings.map(\.tokens)).mean), number(estimate?.ratio),
            ]
        }
        return csvText([columns] + rows)
    }
}

/// Rows of fields as lines.
func csvText(_ rows: [[String]]) -> String {
    rows.map { $0.map(\.csvField).joined(separator: ",") + "\n" }.joined()
}

/// The fields of each line; within quotes, commas and line breaks are text (RFC 4180).
package func csvRows(_ text: String) -> [[String]] {
    var (rows, row, field, isQuoted) = ([[String]](), [String](), "", false)
    var previous: Unicode.Scalar?
    for scalar in text.unicodeScalars {
        defer { previous = scalar }
        switch scalar {
        case "\"":
            isQuoted.toggle()
            // Two within quotes stand for one: the first has ended them, the second begins them again.
            if isQuoted, previous == scalar { field.unicodeScalars.append(scalar) }
        case "," where !isQuoted:
            row.append(field)
            field = ""
        case "\r" where !isQuoted: break
        case "\n" where !isQuoted:
            rows.append(row + [field])
            (row, field) = ([], "")
        default: field.unicodeScalars.append(scalar)
        }
    }
    return row.isEmpty && field.isEmpty ? rows : rows + [row + [field]]
}

extension String {
    /// Quoted where a comma, a quote or a line break would break the line (RFC 4180).
    package var csvField: String {
        guard unicodeScalars.contains(where: { ",\"\n\r".unicodeScalars.contains($0) }) else { return self }
        return "\"" + unicodeScalars.map { $0 == "\"" ? "\"\"" : String($0) }.joined() + "\""
    }
}
