import Console
import Files
import Foundation

/// The losses of runs in one plot. Few runs have a color each, with the training loss of each step faint behind its
/// running mean; many are grouped by optimizer, the best run of each in front of the others.
public struct RunPlot {
    public enum Axis: String, CaseIterable, Sendable {
        case tokens, steps, time

        /// Of the log.
        var column: String { self == .time ? "step_seconds" : self == .steps ? "step" : "tokens" }
    }

    public var axis = Axis.tokens
    public var isValidationOnly = false
    /// Even where there are few runs.
    public var isGrouped = false
    /// In tokens, steps or seconds.
    public var xLimits = PlotLimits()
    public var yLimits = PlotLimits()

    private static let (mostColors, mostRuns) = (8, 100)

    public init() {}

    /// The plot as SVG. `paths`: folders of runs, folders that hold runs, such as a sweep's, or logs.
    public func svg(_ paths: [String], notice: (String) -> Void) throws -> String {
        let paths = try paths.flatMap { RegularFile.exists($0) ? [$0] : try runFolders([$0]) }
        guard paths.count <= Self.mostRuns else {
            throw UserError(
                .usage, "\(paths.count) runs are too many for one plot", hint: "give at most \(Self.mostRuns)")
        }
        let curves = try paths.compactMap { path in
            let curve = try RunCurve(path, over: axis)
            if !(isValidationOnly ? curve.validation.isEmpty : curve.isEmpty) { return curve }
            notice("note: \(path) has no \(isValidationOnly ? "validation " : "")loss to show yet")
            return nil
        }
        let largest = curves.compactMap { $0.train.last?.x }.max() ?? 1
        let (scale, xLabel) = axisScale(largest, unit: axis == .time ? "seconds" : axis.rawValue)
        let isByOptimizer = isGrouped || curves.count > Self.mostColors
        var plot = LinePlot(
            title: curves.count == 1 ? "Loss of \(curves[0].name)" : "Loss of \(curves.count) runs", xLabel: xLabel,
            yLabel: (isValidationOnly ? "validation loss" : "loss") + " (nats a token)",
            series: isByOptimizer ? grouped(curves) : single(curves), xLimits: xLimits.divided(by: scale),
            yLimits: yLimits)
        for index in plot.series.indices {
            plot.series[index].points = plot.series[index].points.map { ($0.x / scale, $0.y) }
        }
        guard let svg = plot.svg else {
            throw UserError(
                .data, curves.isEmpty ? "none of the runs has a loss to plot" : "no loss lies within the limits",
                hint: curves.isEmpty ? "a run writes its first row after its first step" : "widen --xlim or --ylim")
        }
        return svg
    }

    private func title(_ curve: RunCurve, among curves: [RunCurve]) -> String {
        let name = curve.name(among: curves).printable.replacing("\n", with: " ")
        let short = name.count > 48 ? "\(name.prefix(24))...\(name.suffix(21))" : name
        return short + (curve.validation.last.map { String(format: ", validation %.3f", $0.y) } ?? "")
    }

    private func single(_ curves: [RunCurve]) -> [LinePlot.Series] {
        curves.enumerated().flatMap { color, curve -> [LinePlot.Series] in
            let name = title(curve, among: curves)
            if isValidationOnly { return [LinePlot.Series(name: name, color: color, points: curve.validation)] }
            return [
                LinePlot.Series(name: "", color: color, points: thinned(curve.train), style: .faint),
                LinePlot.Series(name: name, color: color, points: thinned(curve.smoothed), style: .line),
                LinePlot.Series(name: "", color: color, points: curve.validation, style: .marks),
            ]
        }
    }

    private func grouped(_ curves: [RunCurve]) -> [LinePlot.Series] {
        let optimizers = curves.map(\.optimizer).unique
        func series(_ curve: RunCurve, _ name: String, _ style: LinePlot.Style) -> LinePlot.Series {
            LinePlot.Series(
                name: name, color: optimizers.firstIndex(of: curve.optimizer) ?? 0,
                points: isValidationOnly ? curve.validation : thinned(curve.smoothed), style: style)
        }
        let groups = optimizers.map { optimizer in
            curves.filter { $0.optimizer == optimizer }.sorted { $0.lastLoss < $1.lastLoss }
        }.sorted { $0[0].lastLoss < $1[0].lastLoss }
        return groups.flatMap { $0.dropFirst().map { series($0, "", .faint) } }
            + groups.map { runs in
                let group = runs[0].optimizer.printable + (runs.count > 1 ? ", best of \(runs.count)" : "")
                return series(
                    runs[0], "\(group): \(title(runs[0], among: curves))", isValidationOnly ? .lineAndMarks : .line)
            }
    }
}
