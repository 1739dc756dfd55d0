import Configuration
import Foundation

/// The status line of a run: "step 120/5000   loss 3.4567   12.3 K tokens/s   41 % of
/// limit   2 h 05 min left", the limit being what the CPU's multiply units do at most.
struct TrainingProgress {
    private let steps: Int
    private let tokensPerStep: Int
    private let status: StatusLine
    /// Clock and step at the start of this process; the rate and the time left follow from them.
    private let started = StatusLine.now()
    private let firstStep: Int
    private var step: Int
    private var loss: Double?
    /// Of the last step.
    private var limitShare: Double?

    init(steps: Int, firstStep: Int, tokensPerStep: Int, status: StatusLine) {
        self.steps = steps
        self.firstStep = firstStep
        step = firstStep
        self.tokensPerStep = tokensPerStep
        self.status = status
    }

    /// In the middle of a step.
    func show(tokensOfStep: Int) {
        status.show(text(tokensOfStep: tokensOfStep))
    }

    /// `limitShare`: operations a second over what the CPU's multiply units do at most.
    mutating func finishStep(loss: Double, limitShare: Double) {
        step += 1
        self.loss = loss
        self.limitShare = limitShare
    }

    /// In the middle of a validation.
    func show(validated: Int, of total: Int) {
        status.show("step \(step)/\(steps)   validating \(100 * validated / max(1, total)) %")
    }

    private func text(tokensOfStep: Int) -> String {
        let done = (step - firstStep) * tokensPerStep + tokensOfStep
        let rate = Double(done) / max(StatusLine.now() - started, 1e-9)
        let left = Double((steps - step) * tokensPerStep - tokensOfStep) / rate
        var parts = ["step \(step + 1)/\(steps)"]
        // Where steps are long, one wants to see them move.
        if Double(tokensPerStep) > 3 * rate { parts.append("\(100 * tokensOfStep / tokensPerStep) %") }
        if let loss { parts.append(String(format: "loss %.4f", loss)) }
        parts.append("\(Format.rate(rate)) tokens/s")
        if let limitShare { parts.append(String(format: "%.0f %% of limit", 100 * limitShare)) }
        parts.append("\(Format.duration(left)) left")
        return parts.joined(separator: "   ")
    }
}
