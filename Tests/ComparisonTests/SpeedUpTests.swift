import Comparison
import Console
import Files
import Foundation
import FoundationXML
import Machine
import TestSupport
import Testing

@Suite struct SpeedUpTests {
    @Test func targetIsReachedBetweenValidations() throws {
        // The loss falls by 0.02 a step from 5.5 to 3.5; validations every 10 steps.
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.3])) { runs, _ in
            let comparison = try Comparison(runs)
            #expect(comparison.target?.loss == 3.5)
            #expect(comparison.text.contains(/muon +1 of 1 +90 +23\.0 K/))
            let crossing = try #require(TargetCrossing(runs[0].log.validations, loss: 4.05))
            #expect(abs(crossing.step - 72.5) < 1e-9)
            #expect(abs(crossing.tokens - 72.5 * 256) < 1e-6)
            #expect(abs(crossing.seconds - 36.25) < 1e-9)
            #expect(TargetCrossing(runs[0].log.validations, loss: 3.49) == nil)
            #expect(try Comparison(runs, targetLoss: 1).text.contains(/adamw +0 of 1 +- +- +-/))
        }
    }

    private let law = { (tokens: Double) in 40 * pow(tokens, -0.3) + 2 }

    /// AdamW of 100 ... 1600 steps on the law, and Muon of 100 steps with the loss of 140.
    private var lengths: [SyntheticRun] {
        [100, 200, 400, 800, 1600].map { steps in
            var run = SyntheticRun("adamw-\(steps)", loss: falling(to: law(Double(steps * 256)), steps: steps))
            (run.steps, run.seed) = (steps, 1)
            return run
        }
    }

    @Test func speedUpComesFromFinalLossesOfSeveralLengths() throws {
        let muon = runs("muon", [law(140 * 256)])
        try withRuns(Array(lengths.prefix(1)) + muon + lengths.dropFirst()) { runs, _ in
            let comparison = try Comparison(Array(runs.prefix(2)), adamwRuns: Array(runs.dropFirst(2)))
            let estimate = try #require(comparison.speedUp?.estimates.first)
            #expect(estimate.optimizer == "muon")
            #expect(abs((estimate.ratio ?? 0) - 1.4) < 1e-3)
            #expect(abs((estimate.range?.lowerBound ?? 0) - 1.4) < 1e-2)
            #expect(!estimate.isExtrapolated)
            #expect(comparison.text.contains(/muon .* 1\.40 +1\.40 to 1\.40/))
        }
    }

    @Test func lossesInTheMiddleOfARunAreNoPoints() throws {
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.4])) { runs, _ in
            let speedUp = try #require(try Comparison(runs).speedUp)
            #expect(speedUp.fit == nil)
            #expect(speedUp.points.count == 1)
            #expect(try #require(speedUp.problem).contains("before the learning rate has come down"))
        }
    }

    @Test func aConstantLearningRateMakesEveryValidationAPoint() throws {
        var adamw = SyntheticRun("adamw", loss: { [law] in law(Double($0 * 256)) })
        adamw.schedule = "{name: constant, warmup: 10}"
        var muon = SyntheticRun("muon", loss: { [law] in law(Double($0 * 256) * 1.25) })
        (muon.schedule, muon.optimizer) = (adamw.schedule, "muon")
        try withRuns([adamw, muon]) { runs, _ in
            let speedUp = try #require(try Comparison(runs).speedUp)
            #expect(speedUp.points.map(\.tokens) == (3...10).map { Double($0 * 2560) })
            #expect(abs((speedUp.estimates.first?.ratio ?? 0) - 1.25) < 1e-3)
            #expect(speedUp.estimates.first?.isExtrapolated == true)
        }
    }

    @Test func runsOfTheFitMustBeAdamWsAndAlike() throws {
        var other = SyntheticRun("other", loss: falling(to: 3))
        other.batchSize = 16
        try withRuns(runs("adamw", [3.5]) + runs("muon", [3.4]) + [other]) { runs, _ in
            let pair = Array(runs.prefix(2))
            let batch = try #require(throws: UserError.self) { try Comparison(pair, adamwRuns: [runs[2]]) }
            #expect(batch.message.contains("training.batch_size is 16"))
            let optimizer = try #require(throws: UserError.self) { try Comparison(pair, adamwRuns: [runs[1]]) }
            #expect(optimizer.message.contains("its optimizer is muon"))
        }
    }

}
