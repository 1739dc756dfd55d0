import Configuration
import Console
import Optimizers
import TestSupport
import Testing

@Suite struct LearningRateScheduleTests {
    /// GaLore's scheduler, whose factors were recorded from its code.
    @Test func cosineAgreesWithGaLore() throws {
        for misc in try GoldenCase.all(where: { $0 == "misc" }) {
            for recorded in try #require(misc.fields.schedule.array) {
                let steps = try #require(recorded.num_training_steps.int)
                let schedule = LearningRateSchedule(
                    .cosine, warmup: .steps(try #require(recorded.warmup_steps.int)),
                    finalRatio: try #require(recorded.min_lr_ratio.double))
                let factors = try #require(recorded.factor.doubles)
                for step in 0..<steps {
                    #expect(abs(schedule.factor(step: step, of: steps) - factors[step]) < 1e-12, "step \(step)")
                }
            }
        }
    }

    @Test func linearFallsFromTheTopToTheFinalRatio() {
        let schedule = LearningRateSchedule(.linear, warmup: .percent(10), finalRatio: 0.1)
        #expect(schedule.factor(step: 0, of: 100) == 0)
        #expect(schedule.factor(step: 5, of: 100) == 0.5)
        #expect(schedule.factor(step: 10, of: 100) == 1)
        #expect(abs(schedule.factor(step: 55, of: 100) - 0.55) < 1e-12)
        #expect(abs(schedule.factor(step: 100, of: 100) - 0.1) < 1e-12)
    }

    @Test(arguments: LearningRateSchedule.Shape.allCases)
    func everyWarmupBeginsAtZero(_ shape: LearningRateSchedule.Shape) {
        let schedule = LearningRateSchedule(shape, warmup: .steps(4), finalRatio: 0.1, decay: .steps(4))
        #expect((0...4).map { schedule.factor(step: $0, of: 20) } == [0, 0.25, 0.5, 0.75, 1])
    }

    @Test func wsdStaysAtTheTopThenFalls() {
        let schedule = LearningRateSchedule(.wsd, warmup: .steps(4), finalRatio: 0, decay: .steps(20))
        #expect(schedule.factor(step: 2, of: 100) == 0.5)
        #expect((4...80).allSatisfy { schedule.factor(step: $0, of: 100) == 1 })
        #expect(schedule.factor(step: 90, of: 100) == 0.5)
        #expect(
            schedule.factor(step: 99, of: 100) == 0.05.nextDown
                || abs(schedule.factor(step: 99, of: 100) - 0.05) < 1e-12)
    }

    @Test func constantWithoutWarmupIsOne() {
        let schedule = LearningRateSchedule(.constant, warmup: .steps(0))
        #expect((0..<10).allSatisfy { schedule.factor(step: $0, of: 10) == 1 })
    }

    @Test func phasesLongerThanTheRunAreAProblem() {
        #expect(LearningRateSchedule(.linear, warmup: .steps(101)).problem(forRunOf: 100) != nil)
        #expect(LearningRateSchedule(.linear, warmup: .steps(100)).problem(forRunOf: 100) == nil)
        let schedule = LearningRateSchedule(.wsd, warmup: .percent(60), decay: .percent(50))
        #expect(schedule.problem(forRunOf: 100) != nil)
        for (warmup, isProblem) in [(50, false), (51, true)] {
            let schedule = LearningRateSchedule(.wsd, warmup: .steps(warmup), decay: .percent(50))
            #expect((schedule.problem(forRunOf: 100) != nil) == isProblem)
        }
    }

    @Test func sharesAreRoundedToTheNearestStep() {
        #expect(StepSpan.percent(10).steps(of: 14) == 1)
        #expect(StepSpan.percent(10).steps(of: 16) == 2)
    }

    @Test(arguments: ["500", "10%", "2.5%", "0"])
    func spansAreReadAndWritten(_ text: String) throws {
        let node = try ConfigurationNode(yaml: "warmup: \(text)", file: "test.cfg")
        let schedule = try decode(LearningRateSchedule.self, from: node, at: "schedule")
        let again = try decode(
            LearningRateSchedule.self, from: ConfigurationNode(yaml: schedule.yaml(), file: "again.cfg"), at: "schedule"
        )
        #expect(schedule == again)
    }

    @Test(arguments: ["-1", "110%", "often", "1.5", "[1]"])
    func badSpansAreRefusedWithTheirPlace(_ text: String) throws {
        let node = try ConfigurationNode(yaml: "warmup: \(text)", file: "test.cfg")
        let error = #expect(throws: UserError.self) {
            try decode(LearningRateSchedule.self, from: node, at: "schedule")
        }
        #expect(error?.message.hasPrefix("test.cfg:1: schedule.warmup") == true)
    }
}
