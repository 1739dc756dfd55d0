import Configuration
import Optimizers
import TensorCore
import Testing

/// The memory of the state against the figures of the COSMOS paper.
@Suite struct StateSizeTests {
    private static func configuration(_ settings: String) throws -> OptimizerConfiguration {
        try OptimizerConfiguration(ConfigurationNode(yaml: "{\(settings)}", file: "test.cfg"), at: "optimizer")
    }

    /// The scalars that a hidden matrix's rule declares, without memory for them.
    private static func stateCount(_ settings: String, _ shapes: [Int]...) throws -> Int {
        let configuration = try configuration(settings)
        return withoutMemory {
            let parameters = shapes.map { Parameter(name: "matrix", shape: $0, role: .matrix(.gate)) }
            return Optimizer(configuration, parameters: parameters, pool: WorkerPool(threads: 1)).stateByteCount / 4
        }
    }

    /// Table 1: scalars of a Transformer layer of 4 attention matrices d x d and two of d x 4d, over d².
    @Test(arguments: [
        ("name: adamw", 24.0), ("name: muon", 12), ("name: soap, sides: input", 66), ("name: cosmos, rank: 100", 13),
    ])
    func layerTakesWhatThePaperSays(_ settings: String, _ multiple: Double) throws {
        let d = 2000
        let scalars = try Self.stateCount(settings, [d, d], [d, d], [d, d], [d, d], [4 * d, d], [d, 4 * d])
        // The paper rounds 12.915 to 13.
        #expect(abs(Double(scalars) / Double(d * d) - multiple) < 0.1)
    }

    /// Table 5, LLaMA 1B: differences between optimizers in GiB, to the digits that are printed there.
    @Test func differencesAt1BAreThoseMeasured() throws {
        let (d, f, layers) = (2048, 5461, 24)
        func gibibytes(_ settings: String) throws -> Double {
            let scalars = try Self.stateCount(settings, [d, d], [d, d], [d, d], [d, d], [f, d], [f, d], [d, f])
            return Double(4 * layers * scalars) / 0x1p30
        }
        let (adam, muon) = (try gibibytes("name: adamw"), try gibibytes("name: muon"))
        let (soap, cosmos) = (try gibibytes("name: soap, sides: input"), try gibibytes("name: cosmos, rank: 64"))
        #expect(abs((adam - muon) - 4.50) < 0.01)
        #expect(abs((cosmos - muon) - 0.22) < 0.01)
        #expect(abs((soap - adam) - 9.83) < 0.01)
    }

    @Test func formulasOfAllSix() throws {
        let (m, n, r) = (2048, 5461, 64)
        let expected: [(String, Int)] = [
            ("name: adamw", 2 * m * n), ("name: adam_mini", m * n + m),
            ("name: galore, rank: 64", m * r + 2 * n * r),
            ("name: galore, rank: 64, proj_type: right", n * r + 2 * m * r),
            ("name: muon", m * n), ("name: soap", 2 * m * n + 2 * m * m + 2 * n * n),
            ("name: soap, max_precond_dim: 4000", 2 * m * n + 2 * m * m),
            ("name: cosmos", m * n + m * r + n * r + r * r),
        ]
        for (settings, count) in expected {
            #expect(try Self.stateCount(settings, [m, n]) == count, "\(settings)")
        }
    }

    private static func optimizer(_ settings: String, threads: Int, scratchBudget: Int) throws -> Optimizer {
        let configuration = try configuration(settings)
        return withoutMemory {
            Optimizer(
                configuration,
                parameters: (0..<3).map { Parameter(name: "\($0)", shape: [60, 100], role: .matrix(.gate)) },
                pool: WorkerPool(threads: threads), scratchBudget: scratchBudget)
        }
    }

    /// One matrix at a time at least; no more than there are, nor than workers.
    @Test func scratchFollowsTheBudget() throws {
        let one = try Self.optimizer("name: muon", threads: 8, scratchBudget: 0).scratchByteCount
        #expect(one >= 4 * (2 * 60 * 100 + 2 * 60 * 60))
        for (threads, budget, matrices) in [(8, 2 * one, 2), (8, 3 * one - 1, 2), (8, 1 << 40, 3), (2, 1 << 40, 2)] {
            let optimizer = try Self.optimizer("name: muon", threads: threads, scratchBudget: budget)
            #expect(optimizer.scratchByteCount == matrices * one)
        }
        #expect(try Self.optimizer("name: adamw", threads: 8, scratchBudget: 0).scratchByteCount == 0)
    }

    /// What matrices are scheduled by: FLOPs, more at a step that renews a basis.
    @Test func costsAreThoseOfTheStep() throws {
        func flops(_ settings: String) throws -> [Int] {
            let slot = try Self.optimizer(settings, threads: 1, scratchBudget: 0).slots[0]
            return (1...6).map(slot.flops(atStep:))
        }
        let muon = 5 * (3 * 60 * 60 * 100 + 60 * 60 * 60)
        #expect(try flops("name: muon") == [Int](repeating: muon, count: 6))
        // Five steps on the Gram matrix, or one, two and two.
        let (fp32, bf16) = (NewtonSchulz(), NewtonSchulz(precision: .bf16))
        let (p2q, p3) = (768 * 768 * 2048, 768 * 768 * 768)
        #expect(fp32.flops(rows: 2048, columns: 768) == 3 * p2q + 17 * p3)
        #expect(bf16.flops(rows: 768, columns: 2048) == 9 * p2q + 11 * p3)
        #expect(bf16.flops(rows: 768, columns: 768) == 20 * p3)
        for settings in ["name: galore, rank: 8, update_proj_gap: 2", "name: soap, precondition_frequency: 2"] {
            let costs = try flops(settings)
            #expect(costs[0] > costs[1] && Array(costs[0..<2] + costs[0..<2] + costs[0..<2]) == costs)
        }
    }

    /// Checkpoints hold these names: with others, older ones could not be resumed.
    @Test(arguments: [
        ("adamw", ["exp_avg", "exp_avg_sq"]), ("adam_mini", ["exp_avg", "exp_avg_sq"]),
        ("galore", ["exp_avg", "exp_avg_sq", "basis"]), ("muon", ["momentum"]),
        ("soap", ["exp_avg", "exp_avg_sq", "gram_left", "q_left", "gram_right", "q_right"]),
        ("cosmos", ["momentum", "basis", "projected_gram", "second_moment"]),
    ])
    func namesOfStateStay(_ optimizer: String, _ names: [String]) throws {
        let state = try Self.optimizer("name: \(optimizer)", threads: 1, scratchBudget: 0).slots[0].state
        #expect(state.map(\.name) == names)
    }
}
