import Optimizers
import TensorCore
import TestSupport
import Testing

extension GoldenCase {
    /// Which optimizer, with which settings, stands against this case for one parameter.
    func plan(for parameter: String) throws -> GoldenPlan {
        let settings = GoldenSettings(hyper: fields.hyper)
        switch name.prefix(while: { $0 != "." }) {
        case "adamw": return try adamWPlan(settings)
        case "adam":
            return try settings.double("weight_decay") == 0
                ? adamWPlan(settings) : .skip("decay by the gradient (L2) is not offered")
        default: return .skip("no optimizer here corresponds to it")
        }
    }

    private func adamWPlan(_ settings: GoldenSettings) throws -> GoldenPlan {
        let betas = try settings.betas()
        let (eps, decay) = (try settings.double("eps"), try settings.double("weight_decay"))
        return .replay(AdamW.self, .vector, tolerance: GoldenTolerance.elementwise) {
            $0 = .init(lr: 1, betas: betas, eps: eps, weightDecay: decay)
        }
    }

    /// State that can't be computed again, because the reference leaves it to its LAPACK.
    func importState(_ parameter: String, into rule: any OptimizerRule, after step: Int) throws {}
}
