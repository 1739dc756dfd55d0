import Optimizers
import TensorCore
import TestSupport
import Testing

/// Which optimizer, with which settings, stands against a case of the references.
extension GoldenCase {
    /// Cases and parameters that no optimizer here corresponds to, and why. All others must be compared.
    private static var notOffered: [(Regex<Substring>, reason: String)] {
        [
            (/adam\.l2_coupled.*/, "decay through the gradient (L2)"),
            (/adam_mini.* .*bias/, "the model has no biases"),
            (/galore\.full.* m.*/, "this projection"),
            (/galore.*\.raw\..* m.*/, "after the second basis it depends on LAPACK's signs"),
            (/muon_moonlight.* v.*/, "its AdamW adds eps before the bias correction"),
            (/soap.* v.*/, "here vectors go to AdamW"),
            (/cosmos\.plain.*/, "its plain form uses the gradient, not the momentum"),
            (/cosmos\.(?:quad_sched|readme|tinygrad).* v.*/, "its Adam is consistent for beta1 0.9 only"),
        ]
    }

    var offeredParameters: [String] {
        fields.params.keys.filter { parameter in
            !Self.notOffered.contains { "\(name) \(parameter)".wholeMatch(of: $0.0) != nil }
        }
    }

    /// Those of them that this CPU can compute.
    var comparedParameters: [String] {
        offeredParameters.filter { !isBF16 || $0.hasPrefix("v") || BFloat16Library.isSupportedByCPU }
    }

    func plan(for parameter: String) throws -> GoldenPlan {
        let settings = GoldenSettings(hyper: fields.hyper)
        guard let shape = fields.params[parameter].ints else { throw GoldenError("\(name): \(parameter) has no shape") }
        switch name.prefix(while: { $0 != "." }) {
        case "adamw": return try adamW(settings)
        case "adam":
            guard try settings.double("weight_decay") == 0 else { throw GoldenError("\(name): L2 is not offered") }
            return try adamW(settings)
        case "adam_mini": return try adamMini(settings, parameter)
        case "galore": return try galore(settings, shape)
        case "galore_adamw_norank": return try galore(settings, shape, role: .embedding)
        case "muon_kj": return try muon(settings, shape, .original, auxiliary: true)
        case "muon_moonlight": return try muon(settings, shape, .matchRMSAdamW, auxiliary: false)
        case "muon_torch":
            let adjustment = settings.hyper.adjust_lr_fn.string
            guard adjustment == "original" || adjustment == "match_rms_adamw" else {
                throw GoldenError("\(name): no scale here corresponds to \(adjustment ?? "nothing")")
            }
            return try muon(settings, shape, adjustment == "original" ? .original : .matchRMSAdamW, auxiliary: false)
        case "soap": return try soap(settings, shape)
        case "cosmos": return try cosmos(settings, shape)
        default: throw GoldenError("\(name): no optimizer here corresponds to it")
        }
    }

    private func adamW(_ settings: GoldenSettings) throws -> GoldenPlan {
        let betas = try settings.betas()
        let (eps, decay) = (try settings.double("eps"), try settings.double("weight_decay"))
        return .replay(AdamW.self, .vector, tolerance: GoldenTolerance.elementwise) {
            $0.own = .init(lr: 1, betas: betas, eps: eps, weightDecay: decay)
        }
    }

    // MARK: Adam-mini

    private func adamMini(_ settings: GoldenSettings, _ parameter: String) throws -> GoldenPlan {
        let headDim = try settings.int("dim") / settings.int("n_heads")
        let roles: [(String, ParameterRole)] = [
            ("embed_tokens.weight", .embedding), ("lm_head.weight", .lmHead), ("norm.weight", .vector),
            ("q_proj.weight", .matrix(.query(headDim: headDim))), ("k_proj.weight", .matrix(.key(headDim: headDim))),
            ("v_proj.weight", .matrix(.value)), ("o_proj.weight", .matrix(.attentionOutput)),
            ("gate_proj.weight", .matrix(.gate)), ("up_proj.weight", .matrix(.up)),
            ("down_proj.weight", .matrix(.down)),
        ]
        guard let role = roles.first(where: { parameter.hasSuffix($0.0) })?.1 else {
            throw GoldenError("\(name): the model has no parameter \(parameter)")
        }
        let betas = try settings.betas()
        let (eps, decay) = (try settings.double("eps"), try settings.double("weight_decay"))
        return .replay(AdamMini.self, role, tolerance: GoldenTolerance.elementwise) {
            ($0.betas, $0.eps, $0.weightDecay) = (betas, eps, decay)
            $0.wholeValueMatrix = settings.hyper.wv_names.string == "{}"
        }
    }

    // MARK: GaLore

    private func galore(
        _ settings: GoldenSettings, _ shape: [Int], role: ParameterRole = .matrix(.gate)
    ) throws -> GoldenPlan {
        let isProjected = role.isMatrix && shape.count == 2
        let betas = try settings.betas()
        let (eps, decay) = (try settings.double("eps"), try settings.double("weight_decay"))
        var projection = GaLore.Projection.std
        if isProjected {
            guard let known = GaLore.Projection(rawValue: settings.hyper.proj_type.string ?? "") else {
                throw GoldenError("\(name): this projection is not offered")
            }
            projection = known
        }
        return try .replay(
            GaLore.self, isProjected ? role : .embedding,
            tolerance: isProjected ? GoldenTolerance.factorized : GoldenTolerance.elementwise
        ) {
            ($0.betas, $0.eps, $0.weightDecay, $0.projection) = (betas, eps, decay, projection)
            guard isProjected else { return }
            $0.rank = try settings.int("rank")
            $0.updateProjGap = try settings.int("update_proj_gap")
            $0.scale = try settings.double("scale")
        }
    }

    // MARK: Muon

    private func muon(
        _ settings: GoldenSettings, _ shape: [Int], _ scale: Muon.Scale, auxiliary: Bool
    ) throws -> GoldenPlan {
        let decay = try settings.hyper.weight_decay.double ?? settings.double("wd")
        guard shape.count == 2 else {
            guard auxiliary, let betas = settings.hyper.aux.betas.doubles, let eps = settings.hyper.aux.eps.double
            else { throw GoldenError("\(name): no AdamW here corresponds to its own") }
            return .replay(AdamW.self, .vector, tolerance: GoldenTolerance.elementwise) {
                $0.own = .init(
                    lr: 1, betas: betas, eps: eps, weightDecay: settings.hyper.aux.weight_decay.double ?? decay)
            }
        }
        return try .replay(
            Muon.self, .matrix(.gate), tolerance: isBF16 ? GoldenTolerance.bf16 : GoldenTolerance.factorized
        ) {
            ($0.weightDecay, $0.scale) = (decay, scale)
            $0.momentum = try settings.double("momentum")
            $0.nesterov = try settings.bool("nesterov")
            $0.orthogonalization.nsSteps = try settings.int("ns_steps")
            $0.orthogonalization.nsPrecision = isBF16 ? .bf16 : .fp32
        }
    }

    private var isBF16: Bool { name.contains("ns_bfloat16") }

    // MARK: SOAP

    private func soap(_ settings: GoldenSettings, _ shape: [Int]) throws -> GoldenPlan {
        guard shape.count == 2, try !settings.bool("merge_dims") else {
            throw GoldenError("\(name): SOAP takes matrices, whose dimensions are not merged")
        }
        let betas = try settings.betas()
        let shampooBeta = try settings.double("shampoo_beta")
        return try .replay(SOAP.self, .matrix(.gate), tolerance: GoldenTolerance.factorized) {
            $0.betas = betas
            $0.shampooBeta = shampooBeta < 0 ? nil : shampooBeta
            $0.eps = try settings.double("eps")
            $0.weightDecay = try settings.double("weight_decay")
            $0.preconditionFrequency = try settings.int("precondition_frequency")
            $0.maxPreconditionerDimension = try settings.int("max_precond_dim")
            $0.normalizeGradients = try settings.bool("normalize_grads")
            $0.correctBias = try settings.bool("correct_bias")
        }
    }

    /// State that can't be computed again: on a matrix that is not square, SOAP's first basis is
    /// whatever LAPACK makes of the null space.
    func importState(_ parameter: String, into slot: Optimizer.Slot, after step: Int) throws {
        guard slot.ruleName == SOAP.name, step == 1 else { return }
        for (ours, theirs) in [("q_left", "Q0"), ("q_right", "Q1")] {
            guard let basis = slot.state.first(where: { $0.name == ours })?.tensor.matrix,
                let columns = try tensor("\(parameter)/\(theirs)@1")
            else { continue }
            let values = columns.floats
            for row in 0..<basis.rows {
                for column in 0..<basis.columns { basis[row, column] = values[column * basis.rows + row] }
            }
        }
    }

    // MARK: COSMOS

    private func cosmos(_ settings: GoldenSettings, _ shape: [Int]) throws -> GoldenPlan {
        let isPaper = name.hasPrefix("cosmos.paper")
        let betas = try settings.betas()
        let (eps, decay) = (try settings.double("eps"), try settings.double("weight_decay"))
        let isNesterov = try settings.bool("nestrov")
        guard shape.count == 2 else {
            guard isPaper || betas[0] == 0.9 else { throw GoldenError("\(name): its Adam is another") }
            return .replay(AdamW.self, .vector, tolerance: GoldenTolerance.elementwise) {
                $0.own = .init(lr: 1, betas: betas, eps: eps, weightDecay: decay)
            }
        }
        guard isPaper || isNesterov else { throw GoldenError("\(name): the plain form is not offered") }
        let ratio = try settings.double("lr_ratio")
        return try .replay(
            COSMOS.self, .matrix(.gate), rateScale: ratio,
            tolerance: isBF16 ? GoldenTolerance.bf16Deficient : GoldenTolerance.factorized
        ) {
            ($0.betas, $0.eps, $0.nesterov) = (betas, eps, isNesterov)
            // Their decay is by the unscaled learning rate.
            $0.weightDecay = decay / ratio
            $0.rank = try settings.int("rank")
            $0.gamma = .number(try settings.double("gamma"))
            $0.orthogonalization.nsPrecision = isBF16 ? .bf16 : .fp32
        }
    }
}
