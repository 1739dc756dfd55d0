import Console

/// Runs of several optimizers, laid beside each other: which setting of each is best, how sure the
/// differences are, and how many tokens they save.
public struct Comparison: Sendable {
    /// Runs of one optimizer that differ in seeds alone.
    public struct Setting: Sendable {
        public let optimizer: String
        public let learningRate: Double
        /// The values, besides the learning rate, in which the optimizer's settings differ.
        public let label: String
        public let runs: [RunRecord]
        public let losses: Sample
        public let divergedCount: Int
        /// Whether settings changed during the runs: their losses then belong to no one setting.
        public let isChanged: Bool

        /// Whether it can be the best: it has a loss of its own, and no seed diverged.
        var isEligible: Bool { losses.count > 0 && divergedCount == 0 && !isChanged }
        /// Means over the runs.
        public var optimizerSecondsPerStep: Double { Sample(runs.map(\.optimizerSecondsPerStep)).mean }
        public var tokensPerSecond: Double { Sample(runs.map(\.tokensPerSecond)).mean }
        public var stateBytes: Int { runs[0].stateBytes }
    }

    /// Two optimizers at their best settings.
    public struct PairTest: Sendable {
        public let first: String
        public let second: String
        /// Mean of the first less that of the second.
        public let difference: Double
        /// Nil where no test is possible.
        public let test: WelchTest?
        /// Holm's p-value among all tests of the comparison.
        public let adjustedP: Double?
    }

    public let runs: [RunRecord]
    /// By optimizer, then learning rate.
    public let settings: [Setting]
    /// The best setting of each optimizer that has one, lowest mean loss first. Empty where the runs are
    /// not ranked.
    public let best: [Setting]
    public let tests: [PairTest]
    /// The loss to reach, and what it is; nil where there is none.
    public let target: (loss: Double, meaning: String)?
    public let speedUp: SpeedUp?
    /// Why the runs are not ranked; shown with `force` only.
    public let problems: [String]
    public let caveats: [String]
    public let notes: [String]

    public static let significance = 0.05

    /// Compares `runs`. Throws `UserError` where they cannot be ranked, unless `force`, which shows them
    /// unranked. `adamwRuns`: AdamW's runs of other lengths, for the speed-up alone. `planProblems`: what
    /// is known to be missing from the runs.
    public init(
        _ runs: [RunRecord], targetLoss: Double? = nil, adamwRuns: [RunRecord] = [], force: Bool = false,
        planProblems: [String] = []
    ) throws {
        self.runs = runs
        problems = planProblems + obstacles(to: runs)
        guard problems.isEmpty || force else {
            throw UserError(
                .data, "these runs cannot be ranked:\n" + problems.map { "  " + $0 }.joined(separator: "\n"),
                hint: "leave out or finish the runs that do not belong, or see them unranked with --force")
        }
        settings = Self.settings(of: runs)
        let candidates = Dictionary(grouping: settings.filter(\.isEligible), by: \.optimizer)
        best =
            !problems.isEmpty
            ? []
            : candidates.values.compactMap { $0.min { $0.losses.mean < $1.losses.mean } }
                .sorted { ($0.losses.mean, $0.optimizer) < ($1.losses.mean, $1.optimizer) }
        tests = Self.tests(best)
        if let targetLoss {
            target = (targetLoss, "as given")
        } else if let adamw = best.first(where: { $0.optimizer == "adamw" }) {
            target = (adamw.losses.mean, "the mean final loss of adamw")
        } else {
            target = best.last.map { ($0.losses.mean, "the mean final loss of \($0.optimizer), the highest") }
        }
        speedUp = best.isEmpty ? nil : try SpeedUp(best: best, settings: settings, adamwRuns: adamwRuns)
        caveats = rankingCaveats(settings: settings, best: best)
        notes = runNotes(settings: settings, runs: runs)
    }

    static func settings(of runs: [RunRecord]) -> [Setting] {
        Dictionary(grouping: runs, by: \.optimizer).flatMap { optimizer, runs in
            let all = runs.map(\.settings)
            // A section that one run has and another lacks makes keys that are not in all.
            let varied = all.joined().map(\.key).unique.filter { key in
                key != "optimizer.lr" && Set(all.map { $0.first { $0.key == key }?.value }).count > 1
            }
            return Dictionary(grouping: runs) { run in
                run.settings.map { "\($0.key)=\($0.value)" } + run.changes
            }.values.map { runs in
                let values = runs[0].settings.filter { varied.contains($0.key) }
                return Setting(
                    optimizer: optimizer, learningRate: runs[0].learningRate,
                    label: (values.map { "\($0.key.replacing("optimizer.", with: ""))=\($0.value)" }
                        + (runs[0].changes.isEmpty ? [] : ["changed on the way"])).joined(separator: " "),
                    runs: runs, losses: Sample(runs.compactMap(\.finalLoss)),
                    divergedCount: runs.count { if case .diverged = $0.state { true } else { false } },
                    isChanged: !runs[0].changes.isEmpty)
            }
        }.sorted { ($0.optimizer, $0.label, $0.learningRate) < ($1.optimizer, $1.label, $1.learningRate) }
    }

    private static func tests(_ best: [Setting]) -> [PairTest] {
        let pairs = best.indices.flatMap { first in (first + 1..<best.count).map { (best[first], best[$0]) } }
        let tests = pairs.map { WelchTest($0.losses, $1.losses) }
        var adjusted = holmAdjusted(tests.compactMap { $0?.p })[...]
        return zip(pairs, tests).map { pair, test in
            PairTest(
                first: pair.0.optimizer, second: pair.1.optimizer,
                difference: pair.0.losses.mean - pair.1.losses.mean, test: test,
                adjustedP: test == nil ? nil : adjusted.removeFirst())
        }
    }
}
