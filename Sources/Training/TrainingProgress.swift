import Console
import Foundation

/// The status line of a run: "step 120/5000   loss 3.4567   12.3 K tokens/s   41 %
/// MFU   2 h 05 min left"; the MFU is of the peak of the CPU's multiply units, as measured.
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
    private var loss: Double?
    /// Of the last step.
    private var mfu: Double?
    /// Steps made by this process and their seconds, and its validations and theirs: the rates follow from them.
    private var made = (steps: 0, seconds: 0.0)
    private var validated = (count: 0, seconds: 0.0)
    /// Start of the step or validation that is under way.
    private var began: Double

    package init(
        steps: Int, firstStep: Int, tokensPerStep: Int, validationTokens: Int, validationsAfter: @escaping (Int) -> Int,
        ranks: Int = 1, status: StatusLine, now: @escaping () -> Double = StatusLine.now
    ) {
        self.steps = steps
        step = firstStep
        self.tokensPerStep = tokensPerStep
        (self.validationTokens, self.validationsAfter) = (validationTokens, validationsAfter)
        (self.ranks, self.status) = (ranks, status)
        self.now = now
        began = now()
    }

    package mutating func begin() { began = now() }

    func show(tokensOfStep: Int) {
        status.show(text(tokensOfStep: tokensOfStep))
    }

    /// `mfu`: model FLOPs utilization, of the peak that was measured.
    /// `seconds`: of the step alone, as in the log.
    package mutating func finishStep(seconds: Double, loss: Double, mfu: Double) {
        step += 1
        made = (made.steps + 1, made.seconds + seconds)
        self.loss = loss
        self.mfu = mfu
    }

    func show(validated: Int, of total: Int) {
        status.show("step \(step)/\(steps)   validating \(100 * validated / max(1, total)) %")
    }

    package mutating func finishValidation() {
        validated = (validated.count + 1, validated.seconds + now() - began)
    }

    package func text(tokensOfStep: Int) -> String {
        let done = made.steps * tokensPerStep + tokensOfStep
        let rate = Double(done) / max(made.seconds + now() - began, 1e-9)
        // Until there was one: a forward pass is a third of forward and backward.
        let validation =
            validated.count > 0 ? validated.seconds / Double(validated.count) : Double(validationTokens) / (3 * rate)
        let left =
            Double((steps - step) * tokensPerStep - tokensOfStep) / rate + Double(validationsAfter(step)) * validation
        var parts = ["step \(step + 1)/\(steps)"]
        // Where steps are long, one wants to see them move.
        if Double(tokensPerStep) > 3 * rate { parts.append("\(100 * tokensOfStep / tokensPerStep) %") }
        if let loss { parts.append(String(format: "loss %.4f", loss)) }
        parts.append("\(Format.rate(rate)) tokens/s" + (ranks > 1 ? " on \(ranks) ranks" : ""))
        if let mfu { parts.append(String(format: "%.0f %% MFU", 100 * mfu)) }
        parts.append("\(Format.duration(left)) left")
        return parts.joined(separator: "   ")
    }
}
