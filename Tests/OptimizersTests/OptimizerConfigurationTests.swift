import Configuration
import Console
import Optimizers
import TensorCore
import TestSupport
import Testing

@Suite struct OptimizerConfigurationTests {
    private static func read(_ settings: String) throws -> OptimizerConfiguration {
        try OptimizerConfiguration(
            ConfigurationNode(yaml: "optimizer: {\(settings)}", file: "run.cfg")["optimizer"], at: "optimizer")
    }

    /// The message names the file, the line and the key, and the hint helps.
    @Test(arguments: [
        ("lr: 1", "optimizer.name is missing", "choose one of adamw"),
        ("name: cosmoss", "there is no optimizer cosmoss", "did you mean `cosmos`?"),
        ("name: muon, rank: 3", "unknown key `optimizer.rank`", ""),
        ("name: cosmos, rnak: 3", "unknown key `optimizer.rnak`", "did you mean `rank`?"),
        ("name: cosmos, rank: 0", "optimizer.rank: 0 must be", ""),
        ("name: galore, rank: 0", "optimizer.rank: 0 must be", ""),
        ("name: adamw, betas: [0.9, 1.0]", "optimizer.betas: [0.9, 1.0] must be", ""),
        ("name: adamw, betas: [0.9]", "optimizer.betas", ""),
        ("name: adamw, lr: -1.0e-3", "optimizer.lr: -1.0e-3 must be", ""),
        ("name: soap, adam: {lr: -1}", "optimizer.adam.lr: -1 must be", ""),
        ("name: galore, proj_type: strange", "optimizer.proj_type: strange is not one of std, reverse_std", ""),
        ("name: muon, scale: originall", "optimizer.scale: originall", "did you mean `original`?"),
        ("name: cosmos, gamma: much", "optimizer.gamma: much is not a number", ""),
        ("name: cosmos, gamma: -1", "optimizer.gamma", ""),
        ("name: cosmos, adam: {lr: 0}", "optimizer.gamma: auto is lr / adam.lr", "give gamma a number"),
    ])
    func mistakesAreExplained(_ settings: String, _ message: String, _ hint: String) {
        let error = #expect(throws: UserError.self) { try Self.read(settings) }
        #expect(
            error?.message.hasPrefix("run.cfg:1: ") == true && error?.message.contains(message) == true,
            "\(error?.message ?? "")")
        #expect(error?.kind == .usage)
        #expect(hint.isEmpty || error?.hint?.contains(hint) == true, "\(error?.hint ?? "no hint")")
    }

    @Test func rolesGoWhereTheOptimizerSays() throws {
        func ruleName(_ configuration: OptimizerConfiguration, _ role: ParameterRole) -> String {
            type(of: configuration.settings(for: role)).name
        }
        let roles: [ParameterRole] = [.embedding, .lmHead, .vector]
        for name in ["muon", "soap", "cosmos"] {
            let configuration = try Self.read("name: \(name)")
            #expect(roles.allSatisfy { ruleName(configuration, $0) == "adamw" })
            #expect(ruleName(configuration, .matrix(.up)) == name)
        }
        for name in ["adamw", "adam_mini", "galore"] {
            let configuration = try Self.read("name: \(name)")
            #expect((roles + [.matrix(.up)]).allSatisfy { ruleName(configuration, $0) == name })
        }
    }

    /// Every optimizer may leave embedding, lm_head and gains to an AdamW with settings of its own.
    @Test(arguments: optimizers.map { $0.name })
    func adamSectionIsForAll(_ name: String) throws {
        let parameters = [
            Parameter(name: "gate", shape: [8, 8], role: .matrix(.gate)),
            Parameter(name: "norm", shape: [8], role: .vector),
        ]
        let configuration = try Self.read("name: \(name), lr: 0.5, adam: {lr: 0.25, eps: 1.0e-12}")
        let slots = Optimizer(configuration, parameters: parameters, pool: WorkerPool(threads: 1)).slots
        #expect(slots.map(\.ruleName) == [name, "adamw"])
        #expect(slots.map(\.learningRate) == [0.5, 0.25])
        #expect(configuration.hyperparameters.values.contains { $0.key == "adam.eps" && $0.value == "1.0e-12" })
        // `null` is what is written where there is none: it is read as no section.
        let absent = try Self.read("name: \(name), adam: null")
        #expect(absent.yaml() == (try Self.read("name: \(name)")).yaml())
    }

    @Test func noticesNameReducedRanksAndClippingWithoutBound() throws {
        let parameters: [(shape: [Int], role: ParameterRole)] = [
            ([64, 32], .matrix(.up)), ([64, 32], .matrix(.gate)), ([32, 64], .matrix(.down)), ([32], .vector),
        ]
        let cosmos = try Self.read("name: cosmos, rank: 40").notices(parameters, gradientClip: 1)
        #expect(cosmos.contains { $0.contains("rank 40 is reduced to 32") && $0.contains("2 parameters") })
        #expect(cosmos.contains { $0.contains("clipping") })
        #expect(try Self.read("name: cosmos, rank: 8").notices(parameters, gradientClip: nil).isEmpty)
        let short = try Self.read("name: cosmos, rank: 40").notices(
            [([32, 64], .matrix(.key(headDim: 8)))], gradientClip: nil)
        #expect(short.count == 1 && short[0].contains("holds all of the first gradient, which has 32 rows"))
        #expect(try Self.read("name: adamw").notices(parameters, gradientClip: 1).isEmpty)
        let galore = try Self.read("name: galore, rank: 40").notices(parameters, gradientClip: nil)
        #expect(galore.contains { $0.contains("rank 40 is reduced to 32") && $0.contains("3 parameters") })
        let soap = try Self.read("name: soap, max_precond_dim: 16").notices(parameters, gradientClip: nil)
        #expect(soap.contains { $0.contains("runs as Adam") && $0.contains("3 parameters") })
        for settings in ["name: galore, rank: 4, update_proj_gap: 1", "name: soap, precondition_frequency: 1"] {
            #expect(try Self.read(settings).notices(parameters, gradientClip: nil).isEmpty)
            let notices = try Self.read(settings + ", stagger: true").notices(parameters, gradientClip: nil)
            #expect(notices.contains { $0.contains("stagger has no effect") })
        }
    }

    /// Staggered layers renew their bases at different steps, each once a period; parameters without one do not count.
    @Test func staggeredBasesTakeTurns() throws {
        let layers = (0..<4).map { Parameter(name: "layer \($0)", shape: [6, 9], role: .matrix(.up)) }
        let parameters = [Parameter(name: "embedding", shape: [5, 9], role: .embedding)] + layers
        let optimizer = Optimizer(
            try Self.read("name: galore, rank: 2, update_proj_gap: 8, stagger: true, adam: {lr: 1.0e-3}"),
            parameters: parameters, pool: WorkerPool(threads: testWorkers))
        var random = Random(seed: 3, stream: "gradients")
        func bases() -> [[Float]] {
            optimizer.slots.compactMap { slot in
                slot.state.first { $0.name == "basis" }.map { Array($0.tensor.elements) }
            }
        }
        var renewals = [[Int]](repeating: [], count: 4)
        var before = bases()
        for step in 1...12 {
            for parameter in parameters {
                for index in 0..<parameter.count { parameter.gradient.data[index] = Float(random.normalPair().0) }
            }
            try optimizer.step(learningRateFactor: 1)
            let now = bases()
            for layer in 0..<4 where now[layer] != before[layer] { renewals[layer].append(step) }
            before = now
        }
        #expect(renewals == [[1, 9], [1, 7], [1, 5], [1, 3, 11]])
    }
}
