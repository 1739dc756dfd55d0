import Foundation

extension Comparison {
    /// The plots with the names of their files, those that have something to show.
    public var plots: [(name: String, svg: String)] {
        [
            (
                "loss-tokens",
                curves("Validation loss against tokens") { $0.log.validations.map { (Double($0.tokens), $0.loss) } }
            ),
            (
                "train-tokens",
                curves("Training loss against tokens", ofTraining: true) {
                    $0.log.trainCurve.map { ($0.tokens, $0.loss) }
                }
            ),
            (
                "loss-time",
                curves("Validation loss against training time", in: "seconds") {
                    $0.log.validations.map { ($0.seconds, $0.loss) }
                }
            ),
            ("loss-lr", lossByLearningRate), ("memory-loss", memoryAgainstLoss),
        ].compactMap { name, plot in plot.svg.map { (name, $0) } }
    }

    /// The number of an optimizer's color and mark.
    private func color(_ optimizer: String) -> Int {
        settings.map(\.optimizer).unique.firstIndex(of: optimizer) ?? 0
    }

    /// The losses along the runs: of the best settings, means over the seeds with a band from the lowest to the highest;
    /// of unranked runs, each by itself.
    private func curves(
        _ title: String, in unit: String = "tokens", ofTraining isTraining: Bool = false,
        _ points: (RunRecord) -> [(x: Double, loss: Double)]
    ) -> LinePlot {
        let lines = (best.isEmpty ? runs.map { [$0] } : best.map(\.runs)).map { runs in (runs, runs.map(points)) }
        let largest = lines.flatMap(\.1).joined().map(\.x).max() ?? 1
        let (scale, scaleName) = axisScale(largest, unit: unit)
        var series: [LinePlot.Series] = []
        for (runs, curves) in lines {
            // Several runs of one optimizer look alike, and have one entry in the legend.
            let name = series.contains { $0.color == color(runs[0].optimizer) } ? "" : runs[0].optimizer
            var line = LinePlot.Series(
                name: name, color: color(runs[0].optimizer), points: [], style: isTraining ? .line : .lineAndMarks)
            // Runs of one setting are validated at the same steps.
            for index in 0..<(curves.map(\.count).min() ?? 0) {
                let losses = curves.map { $0[index].loss }
                let x = Sample(curves.map { $0[index].x }).mean / scale
                line.points.append((x, Sample(losses).mean))
                line.band.append((x, losses.min() ?? 0, losses.max() ?? 0))
            }
            series.append(line)
        }
        // The losses after the first sixth of the run decide the height of the plot.
        let late = series.flatMap(\.points).filter { $0.x >= largest / scale / 6 && $0.y.isFinite }.map(\.y)
        let lowest = late.min() ?? 0
        var plot = LinePlot(
            title: title + (best.isEmpty ? " (unranked)" : ""), xLabel: scaleName, series: series,
            yLimits: PlotLimits(high: late.max().map { $0 + 0.02 * ($0 - lowest) + 1e-9 }))
        if isTraining { plot.yLabel = "training loss (nats a token)" }
        return plot
    }

    /// Means over the seeds, single runs behind them; the best of the other settings for each lr. A cross
    /// at the top stands for a learning rate at which a run diverged.
    private var lossByLearningRate: LinePlot {
        let optimizers = settings.filter { $0.losses.count > 0 }.map(\.optimizer).unique
        return LinePlot(
            title: "Final loss against learning rate", xLabel: "learning rate (✕: a run diverged)",
            isXLogarithmic: true,
            series: optimizers.map { optimizer in
                let own = settings.filter { $0.optimizer == optimizer && $0.losses.count > 0 && !$0.isChanged }
                let means = Dictionary(grouping: own, by: \.learningRate).map { rate, settings in
                    (x: rate, y: settings.map(\.losses.mean).min() ?? .nan)
                }.sorted { $0.x < $1.x }
                let single = own.filter { $0.losses.count > 1 }.flatMap { setting in
                    setting.losses.values.map { (x: setting.learningRate, y: $0) }
                }
                let diverged = settings.filter { $0.optimizer == optimizer && $0.divergedCount > 0 }
                return LinePlot.Series(
                    name: optimizer, color: color(optimizer), points: means, faintPoints: single,
                    diverged: diverged.map(\.learningRate).unique)
            })
    }

    private var memoryAgainstLoss: LinePlot {
        let shown = best.isEmpty ? settings.filter { $0.losses.count > 0 } : best
        let unit = shown.map(\.stateBytes).max() ?? 0 >= 1 << 30 ? (Double(1 << 30), "GiB") : (Double(1 << 20), "MiB")
        return LinePlot(
            title: "Optimizer state against final loss", xLabel: "optimizer state (\(unit.1))",
            series: shown.map(\.optimizer).unique.map { optimizer in
                LinePlot.Series(
                    name: optimizer, color: color(optimizer),
                    points: shown.filter { $0.optimizer == optimizer }.map {
                        (x: Double($0.stateBytes) / unit.0, y: $0.losses.mean)
                    }, style: .marks)
            })
    }
}

/// A divisor that makes an axis readable, and the label of the axis.
func axisScale(_ largest: Double, unit: String) -> (Double, String) {
    if unit == "seconds" {
        return largest >= 7200 ? (3600, "hours") : largest >= 180 ? (60, "minutes") : (1, "seconds")
    }
    let scales = [(1e9, "billions"), (1e6, "millions"), (1e3, "thousands")]
    guard let (scale, name) = scales.first(where: { largest >= 2 * $0.0 }) else { return (1, unit) }
    return (scale, "\(unit) (\(name))")
}
