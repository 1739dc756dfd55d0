import Console
import Foundation
import Machine
import Optimizers
import Planning
import Settings
import TensorCore
import TestSupport
import Testing

/// Memory before it is allocated: the paper's table, and what is done about too little of it.
@Suite struct MemoryPlanTests {
    private func configuration(_ name: String, _ assignments: String...) throws -> RunConfiguration {
        try RunConfiguration(
            file: repositoryRoot.appending(path: "configs/\(name)").path, assignments: assignments)
    }

    private func plan(_ configuration: RunConfiguration) throws -> MemoryPlan {
        try MemoryPlan(configuration, pool: WorkerPool(threads: 1), program: 0)
    }

    /// COSMOS, table 5: differences of GPU memory at 1B, in GiB, to the digits printed.
    @Test func differencesAtOneBillionAreThePapers() throws {
        func gibibytes(_ optimizer: String) throws -> Double {
            Double(try plan(configuration("llama1b.cfg", "optimizer=\(optimizer)")).stateBytes) / 0x1p30
        }
        let adam = try gibibytes("{name: adamw, lr: 1}")
        let muon = try gibibytes("{name: muon, lr: 1}")
        let cosmos = try gibibytes("{name: cosmos, lr: 1, rank: 64}")
        let soap = try gibibytes("{name: soap, lr: 1, sides: input}")
        #expect(abs(adam - muon - 4.50) < 0.005)
        #expect(abs(cosmos - muon - 0.225) < 0.0005)
        #expect(abs(soap - adam - 9.83) < 0.005)
    }

    @Test(arguments: ["adamw", "adam_mini", "galore", "muon", "soap", "cosmos"])
    func stateIsToTheByteWhatTheFormulaSays(_ name: String) throws {
        let configuration = try configuration("llama60m.cfg", "optimizer={name: \(name)}")
        let plan = try plan(configuration)
        let shapes: [([Int], ParameterRole, count: Int)] = [
            ([32000, 512], .embedding, 1), ([32000, 512], .lmHead, 1), ([512], .vector, 17),
            ([512, 512], .matrix(.query(headDim: 64)), 8), ([512, 512], .matrix(.key(headDim: 64)), 8),
            ([512, 512], .matrix(.value), 8), ([512, 512], .matrix(.attentionOutput), 8),
            ([1376, 512], .matrix(.gate), 8), ([1376, 512], .matrix(.up), 8), ([512, 1376], .matrix(.down), 8),
        ]
        func scalars(_ shape: [Int], _ role: ParameterRole) -> Int {
            let (count, m, n) = (shape.reduce(1, *), shape[0], shape.last ?? 1)
            switch (name, role) {
            case ("adam_mini", .vector): return count + 1
            case ("adam_mini", .matrix(.query)), ("adam_mini", .matrix(.key)): return count + 8
            case ("adam_mini", _): return count + m
            case ("galore", .matrix): return 128 * (min(m, n) + 2 * max(m, n))
            case ("muon", .matrix): return count
            case ("soap", .matrix): return 2 * (count + m * m + n * n)
            case ("cosmos", .matrix): return count + 64 * (m + n + 64)
            default: return 2 * count
            }
        }
        #expect(plan.stateBytes == 4 * shapes.reduce(0) { $0 + $1.count * scalars($1.0, $1.1) })
    }

    @Test func gradientLanesTakeACopyForEachPowerOfTwo() throws {
        let plans = try [1, 2, 8].map {
            try plan(configuration("llama60m.cfg", "training={batch_size: 64, gradient_lanes: \($0)}"))
        }
        let (gradients, required) = (plans[0].model.gradients, plans[0].required)
        #expect(plans.map { $0.required - required } == [0, gradients, 3 * gradients])
        #expect(plans[2].rows.contains { $0 == ("partial sums of gradients", 3 * gradients) })
    }

    @Test func everyOptimizerKeepsThePlansOwnAndTakesItsValues() throws {
        let own = try configuration("llama60m.cfg", "optimizer={name: galore, lr: 0.003, rank: 32}")
        let all = try own.withEveryOptimizer()
        #expect(all.map(\.optimizer.name) == optimizers.map { $0.name })
        for other in all {
            #expect(other.optimizer.hyperparameters.lr == 0.003)
            let rank = other.optimizer.hyperparameters.values.first { $0.key == "rank" }?.value
            #expect(rank == nil || rank == "32")
        }
        let scales = all.flatMap(\.optimizer.hyperparameters.values).filter { $0.key == "scale" }.map(\.value)
        #expect(Set(scales) == ["0.25", "original"], "what is no value of the other's setting is left out")
    }

    @Test func aRunThatCannotFitIsRefusedWithItsParts() throws {
        let plan = try plan(configuration("quickstart.cfg"))
        #expect(try plan.check(on: MachineMemory(limit: plan.required, available: plan.required)) == nil)
        #expect(try plan.check(on: nil) == nil)
        let warning = try plan.check(on: MachineMemory(limit: plan.required, available: plan.required - 1))
        #expect(warning?.contains("are available now") == true)
        let error = #expect(throws: UserError.self) {
            try plan.check(on: MachineMemory(limit: plan.required - 1, available: 0))
        }
        for text in ["weights ", "gradients ", "optimizer state ", "activations "] {
            #expect(error?.message.contains(text) == true, "\(error?.message ?? "")")
        }
        #expect(error?.hint?.contains("training.micro_batch_size") == true)
        #expect(error?.kind == .usage)
    }

    @Test func bfloat16AddsOperandsAndHalvesActivations() throws {
        let single = try plan(configuration("llama60m.cfg")).model
        let half = try plan(configuration("llama60m.cfg", "training.precision=bf16")).model
        // lm_head is packed for two products, some of it padded, and one layer for one product at a time.
        let packed = 2 * 32000 * 512 + 4 * 512 * 512 + 3 * 512 * 1376
        let floats = Float.packsWeights ? 4 * packed : 0
        #expect((floats...floats * 103 / 100).contains(single.weightOperands))
        #expect((2 * packed...2 * packed * 103 / 100).contains(half.weightOperands))
        #expect(half.weights == single.weights && half.gradients == single.gradients)
        // All but the residual stream and attention's log-sum-exps (LSE): 8 heads in 8 blocks, a number a token.
        let tokens = 8 * 1024
        let exact = 4 * tokens * (512 + 8 * 8)
        #expect(2 * (half.activations - exact) == single.activations - exact)
    }
}
