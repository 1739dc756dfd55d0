import Console
import Foundation
import Machine

extension Comparison {
    /// How every page begins.
    public static let pageStart = "<!DOCTYPE html>"

    /// One page with everything, which needs no other file: tables, plots, and what all runs have in
    /// common. `title` is what was compared, `provenance` what compares; `isLive`: the page loads itself again.
    public func report(title: String, provenance: Provenance, isLive: Bool = false) -> String {
        let figures = plots.map { "<figure>\($0.svg)</figure>\n" }.joined()
        var parts = tables.map(\.html)
        // The plots stand after the table that they explain.
        parts.insert(figures.isEmpty ? "" : "<div class=\"plots\">\n\(figures)</div>\n", at: min(1, parts.count))
        let common = commonConditions
        let finished = runs.count { $0.state == .finished }
        let optimizers = settings.map(\.optimizer).unique.count
        let summary =
            "\(Format.plural(runs.count, "run")) (\(finished) finished) of \(Format.plural(settings.count, "setting")) and "
            + Format.plural(optimizers, "optimizer")
        return """
            \(Self.pageStart)
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">\(isLive ? "\n<meta http-equiv=\"refresh\" content=\"10\">" : "")
            <title>\(title.escapedForXML)</title>
            <style>
            \(Self.pageStyle)
            \(LinePlot.darkStyle)
            </style>
            </head>
            <body>
            <h1>\(title.escapedForXML)</h1>
            <p>\(summary.escapedForXML). Made on \(Date.now.formatted(.iso8601.year().month().day())) by \
            \(provenance.program.escapedForXML), commit \(provenance.commit.escapedForXML): \
            <code>\(withoutFolders(provenance.command).escapedForXML)</code>.</p>
            <p>\(machines.escapedForXML)Losses are in nats a token, on the validation data, at the end of the runs; sd is \
            their standard deviation over n seeds, and the bands in the plots reach from the lowest to the highest of them. \
            A value shows under the pointer.</p>
            \(parts.joined())
            \(best.isEmpty ? "" : bestSettings.html)\(common.html)\(makers.html)\
            \(best.isEmpty ? "" : runTable.html)\(commands.html)</body>
            </html>

            """
    }

    /// On what, and with what, the runs were made; the tables have the rest.
    private var machines: String {
        let all = runs.compactMap(\.history.madeBy)
        func list(_ values: [String]) -> String { values.unique.joined(separator: " or ") }
        if all.isEmpty { return "" }
        return
            "The runs were made on \(list(all.map { "\($0.cpu), \(Format.plural($0.cores, "core")), \(Format.plural($0.threads, "thread"))" })), by "
            + "\(list(all.map { "\($0.program), commit \($0.commit)" })). "
    }

    private var commonConditions: Table {
        let all = runs.map(\.conditions)
        let common = (all.first ?? []).filter { entry in
            all.allSatisfy { $0.contains { $0.key == entry.key && $0.value == entry.value } }
        }
        return Table(
            title: "What all runs have in common", header: ["setting", "value"],
            rows: common.map { [$0.key, $0.value] },
            textColumns: [0, 1])
    }

    /// All that each optimizer was set to in its best runs, a column each: what differs, and what does not.
    private var bestSettings: Table {
        let columns = best.map { $0.runs[0].settings.filter { $0.key != "optimizer.name" } }
        let rows = columns.flatMap { $0.map(\.key) }.unique.map { key in
            [key] + columns.map { column in column.first { $0.key == key }?.value ?? "-" }
        }
        return Table(title: "The best settings, whole", header: ["setting"] + best.map(\.optimizer), rows: rows)
    }

    /// Program, machine and libraries, with the number of runs of each where they differ.
    private var makers: Table {
        let all = runs.compactMap { $0.history.madeBy?.rows }
        let rows = (all.first ?? []).map { name, _ in
            let values = all.compactMap { $0.first { $0.name == name }?.value }
            let counted = values.unique.map { value in
                values.unique.count == 1 ? value : "\(value) (\(values.count { $0 == value }) runs)"
            }
            return [name, counted.joined(separator: "; ")]
        }
        return Table(title: "What made the runs", header: ["", "value"], rows: rows, textColumns: [0, 1])
    }

    private var commands: Table {
        let rows = runs.filter { !$0.history.events.isEmpty }.map { run in
            let resumed = run.history.events.filter { $0.kind == .resume }.map { "\($0.step)" }
            return [
                run.path, run.history.events[0].time, resumed.isEmpty ? "-" : resumed.joined(separator: ", "),
                withoutFolders(run.history.madeBy?.command ?? "-"),
            ]
        }
        return Table(
            title: "How the runs were made", header: ["folder", "started", "resumed after step", "command"], rows: rows,
            textColumns: [0, 1, 2, 3])
    }

    private static let pageStyle = """
        :root{color-scheme:light dark}
        body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
        h1{font-size:1.6rem;margin-bottom:.3rem}
        h2{font-size:1.1rem;margin:2rem 0 .5rem}
        table{border-collapse:collapse;font-variant-numeric:tabular-nums}
        .table{overflow-x:auto}
        th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #8884;white-space:nowrap}
        th{border-bottom:1.5px solid #888}
        .words{text-align:left}
        .remark{margin:.4rem 0;max-width:75ch}
        ul.remark{padding-left:1.3rem}
        code{overflow-wrap:anywhere}
        .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:1rem;margin-top:1.5rem}
        figure{margin:0;overflow-x:auto}
        .plot{width:100%;height:auto;display:block}
        @media screen and (max-width:600px){.plot{width:640px}}
        @media (prefers-color-scheme:dark){@media screen{body{color:#ddd;background:#16181c}}}
        @media print{body{margin:0;max-width:none;font-size:9.5pt}h2{break-after:avoid}figure,tr{break-inside:avoid}
        .table{overflow:visible}th,td{padding:.1rem .4rem;white-space:normal}.plots{grid-template-columns:1fr 1fr}}
        """
}

/// A command with only the names of the files that it names by absolute paths: reports are published.
package func withoutFolders(_ command: String) -> String {
    command.replacing(#/(^|[\s=:'"])\/(?:[^\/\s]+\/)*/#) { $0.output.1 }
}
