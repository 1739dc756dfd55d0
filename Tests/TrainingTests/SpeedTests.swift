import Checkpoints
import Console
import LLaMA
import Planning
import TestSupport
import Testing
import Training

/// The speed that a run shows and a plan promises.
@Suite struct SpeedTests {
    private final class Clock {
        var seconds = 0.0
    }

    @Test("The status line's tokens/s leave out validations, and its time left counts those to come")
    func statusLine() throws {
        let clock = Clock()
        var configuration = try TinyRun().configuration(["training.steps=10", "evaluation.every=4"])
        configuration.data.sequenceLength = 16
        var progress = TrainingProgress(
            steps: 10, firstStep: 0, tokensPerStep: 1000, validationTokens: 6000,
            validationsAfter: configuration.validationCount(after:), ranks: 4, status: try TinyRun().silentStatus(),
            now: { clock.seconds })
        func step() {
            progress.begin()
            clock.seconds += 1
            progress.finishStep(
                LogRow(
                    step: 1, tokens: 1000, trainLoss: 3, learningRate: 1e-3, gradientNorm: 0.25, stepSeconds: 1,
                    tokensPerSecond: 1000, flopsPerSecond: 1, mfu: 0.5, phases: StepPhases()))
        }
        step()
        progress.begin()
        // Nine steps of a second, and validations after steps 4, 8 and 10 of two, by a third of the price of training.
        let first =
            "step 2/10  loss 3.0000  ▁  1.00 K tokens/s on 4 ranks  lr 0.001  grad norm 0.25  50 % MFU  1.0 s so far  15 s left"
        #expect(progress.text(tokensOfStep: 0).text() == first)
        // What matters less is left out where the terminal is narrow.
        #expect(
            progress.text(tokensOfStep: 0).text(width: 40)
                == "step 2/10  loss 3.0000  ▁  1.0 s so far\n15 s left")
        #expect(progress.text(tokensOfStep: 0).text(width: 24) == "step 2/10  loss 3.0000\n1.0 s so far  15 s left")
        for _ in 2...4 { step() }
        progress.begin()
        clock.seconds += 30
        progress.finishValidation(loss: 3.5)
        progress.begin()
        clock.seconds += 0.5
        let text = progress.text(tokensOfStep: 500).text()
        #expect(
            text.contains("1.00 K tokens/s on 4 ranks  best validation 3.5000  ") && text.hasSuffix("1 min 06 s left"),
            "\(text)")
    }

    @Test("A run is validated so many times after a step")
    func validations() throws {
        let run = try TinyRun()
        let configuration = try run.configuration(["training.steps=10", "evaluation.every=4"])
        #expect([0, 3, 4, 8, 9, 10].map { configuration.validationCount(after: $0) } == [3, 3, 2, 1, 1, 0])
        #expect(try run.configuration(["evaluation.every=0"]).validationCount() == 1)
    }

    @Test("A plan validates no more tokens than the data has, in whole windows")
    func validationTokens() throws {
        let run = try TinyRun()
        #expect(try run.configuration(["evaluation.tokens=500"]).tokensOfValidation() == 512)
        #expect(try run.configuration(["evaluation.tokens=1000000"]).tokensOfValidation() == 62 * 16)
        #expect(try run.configuration(["data.validation=nowhere.bin"]).tokensOfValidation() == 512)
    }

    @Test("A measurement is warm, however long the first call takes")
    func medianOfWarmCalls() {
        var calls = 0
        let time = medianTime(seconds: 0.02) {
            calls += 1
            let started = StatusLine.now()
            while StatusLine.now() - started < (calls == 1 ? 0.5 : 0.001) {}
        }
        #expect(time < 0.2)
        #expect(calls > 2)
    }

    @Test("Layers faster than the machine's limit are no measurement")
    func limit() throws {
        let first = PassSeconds(forward: 1, lmHead: 2, backward: 2)
        func whole(_ last: PassSeconds, flops: Double) -> PassSeconds? {
            GradientProbe.whole(first, last, layers: 4, allLayers: 10, extraFlops: flops, limit: 1e12)
        }
        let believed = try #require(whole(PassSeconds(forward: 2.5, lmHead: 9, backward: 5), flops: 4e12))
        #expect([believed.forward, believed.lmHead, believed.backward] == [5.5, 2, 11])
        #expect(whole(PassSeconds(forward: 2.5, lmHead: 2, backward: 5), flops: 5e12) == nil)
        #expect(whole(PassSeconds(forward: 1, lmHead: 20, backward: 1), flops: 1) == nil)
    }
}
