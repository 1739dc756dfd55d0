import Console
import Foundation

/// Where a run first had a validation loss, interpolated between validations.
public struct TargetCrossing: Sendable {
    public let step: Double
    public let tokens: Double
    public let seconds: Double

    /// Nil where the run never reached it.
    public init?(_ points: [RunLogSummary.Point], loss: Double) {
        guard let index = points.firstIndex(where: { $0.loss <= loss }) else { return nil }
        let after = points[index]
        // Before the first validation nothing is known.
        let before = index > 0 ? points[index - 1] : after
        let share = before.loss > after.loss ? (before.loss - loss) / (before.loss - after.loss) : 1
        func between(_ first: Double, _ second: Double) -> Double { first + share * (second - first) }
        step = between(Double(before.step), Double(after.step))
        tokens = between(Double(before.tokens), Double(after.tokens))
        seconds = between(before.seconds, after.seconds)
    }
}

/// How many tokens AdamW would need for the losses of the other optimizers, from a fit of its loss.
///
/// A point of the fit must be a loss that AdamW ends with after so many tokens. A loss in the middle of
/// a run is none: the learning rate has not come down yet, and a run of that length would have ended
/// lower. So points are the mean final losses of AdamW's runs of several lengths, each at its best
/// setting; only where the learning rate is constant, validations after the warm-up count too.
public struct SpeedUp: Sendable {
    public struct Estimate: Sendable {
        public let optimizer: String
        /// AdamW's tokens over the optimizer's; nil: no amount of data leads AdamW there.
        public let ratio: Double?
        /// Its smallest and largest value when one point of the fit is left out; nil where one of the fits
        /// has no answer.
        public let range: ClosedRange<Double>?
        /// Whether AdamW's tokens lie outside those of the fit's points.
        public let isExtrapolated: Bool
    }

    public let points: [(tokens: Double, loss: Double)]
    public let fit: PowerLawFit?
    public let estimates: [Estimate]
    public let problem: String?

    /// The curve has three parameters, so three points would never contradict it.
    public static let neededPoints = 4

    init(best: [Comparison.Setting], settings: [Comparison.Setting], adamwRuns: [RunRecord]) throws {
        try Self.check(adamwRuns, against: best[0].runs[0])
        let adamw = best.first { $0.optimizer == "adamw" }
        var points: [(tokens: Double, loss: Double)] = []
        if let adamw { points += Self.points(adamw.runs) }
        // The best setting of each length.
        let bySetting = Dictionary(grouping: adamwRuns) { run in
            run.settings.map(\.value) + ["\(run.configuration.steps)"]
        }.values
        for (_, group) in Dictionary(grouping: bySetting, by: { $0[0].configuration.steps }) {
            let best = group.min { Sample($0.compactMap(\.finalLoss)).mean < Sample($1.compactMap(\.finalLoss)).mean }
            points += Self.points(best ?? [])
        }
        // One point for each number of tokens.
        points = Dictionary(grouping: points, by: \.tokens).map { ($0, Sample($1.map(\.loss)).mean) }
            .sorted { $0.0 < $1.0 }
        self.points = points

        guard points.count >= Self.neededPoints else {
            fit = nil
            estimates = []
            let isConstant = adamw?.runs[0].configuration.schedule.shape == .constant
            problem =
                "not estimated: a fit needs \(adamw == nil ? "AdamW among the runs, and " : "")AdamW's final losses at "
                + "\(Self.neededPoints) numbers of tokens or more, there "
                + (points.count == 1 ? "is 1" : "are \(points.count)")
                + (isConstant
                    ? "" : " (losses in the middle of a run, before the learning rate has come down, do not count)")
                + "; add AdamW runs of other lengths with --adamw-runs"
            return
        }
        guard let fit = PowerLawFit(points) else {
            self.fit = nil
            estimates = []
            problem = "not estimated: AdamW's \(points.count) losses do not fall like a power of the tokens"
            return
        }
        self.fit = fit
        problem = nil
        let partial = points.indices.map { left in
            PowerLawFit(points.indices.filter { $0 != left }.map { points[$0] })
        }
        estimates = best.filter { $0.optimizer != "adamw" }.map { setting in
            let tokens = Double(setting.runs[0].log.lastTokens)
            let equivalent = fit.tokens(loss: setting.losses.mean)
            let others = partial.compactMap { $0?.tokens(loss: setting.losses.mean) }.map { $0 / tokens }
            let isWhole = others.count == points.count
            return Estimate(
                optimizer: setting.optimizer, ratio: equivalent.map { $0 / tokens },
                range: isWhole ? (others.min() ?? 0)...(others.max() ?? 0) : nil,
                isExtrapolated: equivalent.map { $0 < points[0].tokens || $0 > points[points.count - 1].tokens } ?? true
            )
        }
    }

    private static func points(_ runs: [RunRecord]) -> [(tokens: Double, loss: Double)] {
        guard let configuration = runs.first?.configuration else { return [] }
        let finished = runs.filter { $0.finalLoss != nil }
        guard configuration.schedule.shape == .constant else {
            return finished.isEmpty
                ? [] : [(Double(finished[0].log.lastTokens), Sample(finished.compactMap(\.finalLoss)).mean)]
        }
        let warmup = configuration.schedule.warmup.steps(of: configuration.steps)
        let validations = finished.flatMap(\.log.validations).filter { $0.step > 2 * warmup }
        return Dictionary(grouping: validations, by: \.tokens).filter { $0.value.count == finished.count }
            .map { (Double($0), Sample($1.map(\.loss)).mean) }
    }

    /// Refuses runs that are not AdamW's, not finished, or that differ in more than length.
    private static func check(_ runs: [RunRecord], against reference: RunRecord) throws {
        func refuse(_ run: RunRecord, _ why: String) -> UserError {
            UserError(
                .data, "\(run.path) cannot be a point of AdamW's fit: \(why)",
                hint: "--adamw-runs are AdamW's finished runs that differ from the others in their length alone")
        }
        let expected = Dictionary(uniqueKeysWithValues: reference.conditions.map { ($0.key, $0.value) })
        for run in runs {
            if run.optimizer != "adamw" { throw refuse(run, "its optimizer is \(run.optimizer)") }
            if !run.changes.isEmpty { throw refuse(run, run.changes.joined(separator: "; ")) }
            if run.finalLoss == nil { throw refuse(run, "it has no final validation loss") }
            for (key, value) in run.conditions where key != "tokens of the whole run" {
                guard let other = expected[key], other != value else { continue }
                throw refuse(run, "\(key) is \(value), in \(reference.path) it is \(other)")
            }
        }
    }
}
