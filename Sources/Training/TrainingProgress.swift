import Checkpoints
import Console
import Foundation

/// The status line of a run: step, loss with its course so far, best validation loss, tokens a second, learning rate,
/// gradient norm, MFU (of the peak of the CPU's multiply units, as measured), time.
package struct TrainingProgress {
    private let steps: Int
    private let tokensPerStep: Int
    /// The tokens of a validation, and how many validations come after so many steps.
    private let validationTokens: Int
    private let validationsAfter: (Int) -> Int
    private let ranks: Int
    private let status: StatusLine
    private let now: () -> Double
    private var step: Int
    /// The last step's row.
    private var row: LogRow?
    private var losses = MeanHistory(capacity: 16)
    private var best: Double?
    /// Steps made by this process and their seconds, and its validations and theirs: the rates follow from them.
    private var made = (steps: 0, seconds: 0.0)
    private var validated = (count: 0, seconds: 0.0)
    private let started: Double
    /// Start of the step or validation that is under way.
    private var began: Double

    package init(
        steps: Int, firstStep: Int, tokensPerStep: Int, validationTokens: Int, validationsAfter: @escaping (Int) -> Int,
        ranks: Int = 1, best: Double? = nil, status: StatusLine, now: @escaping () -> Double = StatusLine.now
    ) {
        (self.steps, step, self.tokensPerStep) = (steps, firstStep, tokensPerStep)
        (self.validationTokens, self.validationsAfter, self.best) = (validationTokens, validationsAfter, best)
        (self.ranks, self.status, self.now) = (ranks, status, now)
        started = now()
        began = started
    }

    package mutating func begin() { began = now() }

    func show(tokensOfStep: Int) {
        status.show(text(tokensOfStep: tokensOfStep))
    }

    package mutating func finishStep(_ row: LogRow) {
        step += 1
        made = (made.steps + 1, made.seconds + row.stepSeconds)
        self.row = row
        losses.append(row.trainLoss)
    }

    func show(validated: Int, of total: Int) {
        status.show(
            ProgressText(
                "validating after step \(step)/\(steps)", share: Double(validated) / Double(max(1, total)),
                elapsed: now() - started))
    }

    package mutating func finishValidation(loss: Double) {
        best = min(loss, best ?? loss)
        validated = (validated.count + 1, validated.seconds + now() - began)
    }

    package func text(tokensOfStep: Int) -> ProgressText {
        let done = made.steps * tokensPerStep + tokensOfStep
        let rate = Double(done) / max(made.seconds + now() - began, 1e-9)
        // Until there was one: a forward pass is a third of forward and backward.
        let validation =
            validated.count > 0 ? validated.seconds / Double(validated.count) : Double(validationTokens) / (3 * rate)
        let left =
            Double((steps - step) * tokensPerStep - tokensOfStep) / rate + Double(validationsAfter(step)) * validation
        var text = ProgressText("step \(step + 1)/\(steps)", elapsed: now() - started, left: left)
        // Where steps are long, one wants to see them move.
        if Double(tokensPerStep) > 3 * rate { text.share = Double(tokensOfStep) / Double(tokensPerStep) }
        if let row { text.details += [String(format: "loss %.4f", row.trainLoss), losses.sparkline] }
        text.details.append("\(Format.rate(rate)) tokens/s" + (ranks > 1 ? " on \(ranks) ranks" : ""))
        if let best { text.details.append(String(format: "best validation %.4f", best)) }
        if let row {
            text.details += [
                String(format: "lr %.3g", row.learningRate), String(format: "grad norm %.3g", row.gradientNorm),
                String(format: "%.0f %% MFU", 100 * row.mfu),
            ]
        }
        return text
    }
}
