import Configuration
import Foundation
import Optimizers
import TensorCore
import TestSupport
import Testing

/// What every optimizer must do, run over the registry and the examples of the documentation: a new optimizer is
/// covered by its row there.
@Suite struct ConformanceTests {
    static let all =
        optimizers
        + ([Lion.self, NorMuon.self] as [any OptimizerSettings.Type]).filter { example in
            !optimizers.contains { $0.name == example.name }
        }

    /// An optimizer with settings for small matrices.
    struct Entry: CustomTestStringConvertible, Sendable {
        let optimizer: any OptimizerSettings.Type
        var settings = ""
        var testDescription: String { settings.isEmpty ? optimizer.name : "\(optimizer.name) {\(settings)}" }

        func configuration(_ changes: String = "") throws -> OptimizerConfiguration {
            let lines = [settings, changes].filter { !$0.isEmpty }.joined(separator: ", ")
            return OptimizerConfiguration(try optimizer.read("{\(lines)}"))
        }
    }

    /// Each as it comes, and with the settings that change what it does most.
    static let variants: [String: [String]] = [
        "adam_mini": ["whole_value_matrix: true"],
        "galore": [
            "rank: 3, update_proj_gap: 4", "rank: 3, update_proj_gap: 4, proj_type: reverse_std, stagger: true",
        ],
        "muon": ["scale: match_rms_adamw, ns_precision: bf16", "scale: unit_rms"],
        "soap": [
            "precondition_frequency: 3, stagger: true", "precondition_frequency: 2, sides: input", "max_precond_dim: 6",
        ],
        "cosmos": ["rank: 3, nesterov: true", "rank: 2, ns_precision: bf16"],
    ]

    static var entries: [Entry] {
        all.flatMap { optimizer in
            ([""] + (variants[optimizer.name] ?? [])).map { Entry(optimizer: optimizer, settings: $0) }
        }.filter { entry in
            BFloat16Library.isSupportedByCPU || !entry.settings.contains("bf16")
        }
    }

    /// One parameter of every role; matrices tall, wide and square, and a single row and column.
    static func parameters() -> [Parameter] {
        let shapes: [(String, [Int], ParameterRole)] = [
            ("embedding", [37, 8], .embedding), ("query", [8, 8], .matrix(.query(headDim: 4))),
            ("key", [4, 8], .matrix(.key(headDim: 4))), ("value", [4, 8], .matrix(.value)),
            ("output", [8, 8], .matrix(.attentionOutput)), ("gate", [22, 8], .matrix(.gate)),
            ("down", [8, 22], .matrix(.down)), ("row", [1, 9], .matrix(.up)), ("column", [9, 1], .matrix(.up)),
            ("norm", [8], .vector), ("head", [37, 8], .lmHead),
        ]
        var random = Random(seed: 7, stream: "weights")
        return shapes.map { name, shape, role in
            let parameter = Parameter(name: name, shape: shape, role: role)
            for index in 0..<parameter.count { parameter.weight.data[index] = Float(random.normalPair().0) }
            return parameter
        }
    }

    /// Reproducible gradients that differ from step to step.
    static func setGradients(_ parameters: [Parameter], step: Int, scale: Float = 0.1) {
        var random = Random(seed: UInt64(step), stream: "gradients")
        for parameter in parameters {
            for index in 0..<parameter.count {
                parameter.gradient.data[index] = scale * (Float(random.normalPair().0) + 0.3)
            }
        }
    }

    static func bits(_ parameters: [Parameter]) -> [UInt32] {
        parameters.flatMap { $0.weight.elements.map(\.bitPattern) }
    }

    /// The weights after `steps` steps.
    static func run(
        _ entry: Entry, steps: Int, threads: Int, scale: Float = 0.1,
        scratchBudget: Int = Optimizer.defaultScratchBudget, taskSize: Int = 1 << 18
    ) throws -> [Parameter] {
        let parameters = parameters()
        let optimizer = Optimizer(
            try entry.configuration(), parameters: parameters, pool: WorkerPool(threads: threads),
            scratchBudget: scratchBudget, taskSize: taskSize)
        for step in 1...steps {
            setGradients(parameters, step: step, scale: scale)
            try optimizer.step(learningRateFactor: 1)
        }
        return parameters
    }

    /// Everything is allocated before or in the first step; what remains are the runtime's small objects.
    @Test(arguments: entries)
    func laterStepsAllocateNoMemory(_ entry: Entry) throws {
        func largestBlocks() throws -> [Int] {
            let parameters = [
                Parameter(name: "embedding", shape: [300, 96], role: .embedding),
                Parameter(name: "gate", shape: [160, 96], role: .matrix(.gate)),
                Parameter(name: "down", shape: [96, 160], role: .matrix(.down)),
            ]
            // One worker is the calling thread.
            let optimizer = Optimizer(try entry.configuration(), parameters: parameters, pool: WorkerPool(threads: 1))
            return try (1...12).map { step in
                Self.setGradients(parameters, step: step)
                return try largestAllocation { try optimizer.step(learningRateFactor: 1) }
            }
        }
        // The first makes what oneDNN keeps on this thread for each shape of a product.
        _ = try largestBlocks()
        let largest = try largestBlocks()
        // A row of the smallest matrix in float32 has 384 bytes.
        #expect(largest.dropFirst(2).allSatisfy { $0 < 384 }, "\(largest)")
        #expect(largestAllocation { _ = [Float](repeating: 0, count: 96 * 96) } > 96 * 96 * 4, "nothing is counted")
    }

    @Test func everyRuleInTheSourcesIsRegistered() throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Sources/Optimizers")
        var found: Set<String> = []
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            let text = try String(contentsOf: file, encoding: .utf8)
            for match in text.matches(of: /struct (\w+): (?:OptimizerSettings|OrthogonalizingOptimizer)/) {
                found.insert(String(match.1))
            }
        }
        #expect(found.count >= 6)
        #expect(found == Set(optimizers.map { String(describing: $0) }))
        #expect(Set(Self.all.map { $0.name }).count == Self.all.count, "two optimizers have one name")
    }

    /// Least squares |W - target|² from a distance, with a falling learning rate.
    @Test(arguments: entries)
    func converges(_ entry: Entry) throws {
        let (parameters, targets) = (Self.parameters(), Self.parameters())
        for target in targets {
            for index in 0..<target.count { target.weight.data[index] += index % 2 == 0 ? 0.5 : -0.5 }
        }
        func distance() -> Double {
            zip(parameters, targets).reduce(0) { sum, pair in
                zip(pair.0.weight.elements, pair.1.weight.elements).reduce(sum) {
                    $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
                }
            }
        }
        let optimizer = Optimizer(
            try entry.configuration(), parameters: parameters, pool: WorkerPool(threads: testWorkers))
        let start = distance()
        let rate = try #require(optimizer.slots.map(\.learningRate).min())
        let steps = 600
        for step in 0..<steps {
            for (parameter, target) in zip(parameters, targets) {
                for index in 0..<parameter.count {
                    parameter.gradient.data[index] = parameter.weight.data[index] - target.weight.data[index]
                }
            }
            try optimizer.step(learningRateFactor: 0.05 / rate * (1 - Double(step) / Double(steps)))
        }
        #expect(distance() < 0.05 * start, "\(start) -> \(distance())")
    }

    @Test(arguments: entries)
    func sameBitsAgainAndForAnyNumberOfThreads(_ entry: Entry) throws {
        let once = try Self.bits(Self.run(entry, steps: 9, threads: 1))
        #expect(try Self.bits(Self.run(entry, steps: 9, threads: 1)) == once)
        #expect(try Self.bits(Self.run(entry, steps: 9, threads: testWorkers)) == once)
        #expect(try Self.bits(Self.run(entry, steps: 9, threads: 5)) == once)
    }

    /// Units one by one or all at once, matrices one by one or all at once.
    @Test(arguments: entries)
    func sameBitsHoweverTheWorkIsCut(_ entry: Entry) throws {
        let once = try Self.bits(Self.run(entry, steps: 9, threads: testWorkers))
        #expect(try Self.bits(Self.run(entry, steps: 9, threads: 3, scratchBudget: 0, taskSize: 1)) == once)
        #expect(try Self.bits(Self.run(entry, steps: 9, threads: 3, taskSize: 30)) == once)
        #expect(
            try Self.bits(Self.run(entry, steps: 9, threads: 5, scratchBudget: 1 << 40, taskSize: 1 << 40)) == once)
    }

    @Test(arguments: entries, [1, 2, 5])
    func resumedRunEndsInTheSameBits(_ entry: Entry, stop: Int) throws {
        let straight = try Self.bits(Self.run(entry, steps: 9, threads: testWorkers))

        let pool = WorkerPool(threads: testWorkers)
        let before = Self.parameters()
        let stopped = Optimizer(try entry.configuration(), parameters: before, pool: pool)
        for step in 1...stop {
            Self.setGradients(before, step: step)
            try stopped.step(learningRateFactor: 1)
        }
        let after = Self.parameters()
        for (new, old) in zip(after, before) { new.weight.copy(from: old.weight) }
        let resumed = Optimizer(try entry.configuration(), parameters: after, pool: pool)
        #expect(resumed.state.map(\.name) == stopped.state.map(\.name))
        for (new, old) in zip(resumed.state, stopped.state) { new.tensor.copy(from: old.tensor) }
        resumed.stepCount = stopped.stepCount
        for step in stop + 1...9 {
            Self.setGradients(after, step: step)
            try resumed.step(learningRateFactor: 1)
        }
        #expect(Self.bits(after) == straight)
    }

    @Test(arguments: entries)
    func stateStartsAtZeroUnderNamesOfItsOwn(_ entry: Entry) throws {
        let configuration = try entry.configuration()
        let parameters = Self.parameters()
        func optimizer() -> Optimizer {
            Optimizer(configuration, parameters: parameters, pool: WorkerPool(threads: 1))
        }
        let state = optimizer().state
        #expect(state.allSatisfy { $0.tensor.elements.allSatisfy { $0 == 0 } }, "state does not start at zero")
        #expect(Set(state.map(\.name)).count == state.count)
        #expect(withoutMemory { optimizer().state.map(\.tensor.shape) } == state.map(\.tensor.shape))
    }

    /// "2mn + min(m,n) r + r² (in words)": the sum before the words.
    static func value(of formula: String, m: Int, n: Int, r: Int) throws -> Int {
        let values: [Character: Int] = ["m": m, "n": n, "r": r, "p": min(m, n), "q": max(m, n)]
        let words = try #require(
            formula.replacing("min(m,n)", with: "p").replacing("max(m,n)", with: "q").split(separator: " (").first)
        return try words.split(separator: " + ").reduce(0) { sum, term in
            var factors: [Int] = []
            for letter in term where letter != " " {
                factors.append(try #require(letter == "²" ? factors.last : values[letter] ?? letter.wholeNumberValue))
            }
            return sum + factors.reduce(1, *)
        }
    }

    @Test(arguments: all.map { Entry(optimizer: $0) })
    func stateIsWhatTheFormulaSays(_ entry: Entry) throws {
        let hasRank = try entry.configuration().hyperparameters.values.contains { $0.key == "rank" }
        let configuration = try entry.configuration(hasRank ? "rank: 3" : "")
        for (m, n) in [(22, 9), (7, 30)] {
            let matrix = Parameter(name: "gate", shape: [m, n], role: .matrix(.gate))
            let optimizer = Optimizer(configuration, parameters: [matrix], pool: WorkerPool(threads: 1))
            let formula = entry.optimizer.stateFormula
            #expect(try optimizer.stateByteCount == 4 * Self.value(of: formula, m: m, n: n, r: 3), "\(formula)")
        }
    }

    /// Whatever a rule goes by can be set, is written to checkpoints, and is compared when a run is resumed.
    @Test(arguments: all.map { Entry(optimizer: $0) })
    func everySettingIsAField(_ entry: Entry) throws {
        func properties(_ value: Any) -> Int {
            let mirror = Mirror(reflecting: value)
            let isOptional = mirror.displayStyle == .optional
            guard isOptional && !mirror.children.isEmpty || value is any ConfigurationSection else { return 1 }
            return mirror.children.reduce(0) { $0 + properties($1.value) }
        }
        let values = try entry.configuration().hyperparameters.values
        #expect(values.count == properties(try entry.configuration().hyperparameters))
        // And each key is of one property alone.
        for (key, value) in values where !key.contains(".") {
            let numbers = value.trimmingCharacters(in: ["[", "]"]).split(separator: ", ").compactMap { Double($0) }
            guard !numbers.isEmpty else { continue }
            let others = numbers.map { $0 == 0 || ($0 == $0.rounded() && $0 != 1) ? $0 + 1 : 0.5 * $0 }.map(\.yaml)
            let other = value.hasPrefix("[") ? "[\(others.joined(separator: ", "))]" : others[0]
            let changed = try entry.configuration("\(key): \(other)").hyperparameters.values
            #expect(zip(values, changed).filter { $0.value != $1.value }.map(\.0.key) == [key])
        }
    }

    /// Without a gradient there is no update, and what is left is W <- (1 - lr weight_decay) W.
    @Test(arguments: entries)
    func decayIsDecoupledAndByTheLearningRate(_ entry: Entry) throws {
        let configuration = try entry.configuration(
            "lr: 0.5, weight_decay: 0.2, adam: {lr: 0.25, weight_decay: 0.4}")
        let (parameters, start) = (Self.parameters(), Self.parameters())
        let optimizer = Optimizer(configuration, parameters: parameters, pool: WorkerPool(threads: testWorkers))
        for _ in 1...3 { try optimizer.step(learningRateFactor: 0.5) }
        for (parameter, start) in zip(parameters, start) {
            // SOAP's first step only makes its bases.
            let decays = entry.optimizer.name == "soap" && parameter.role.isMatrix ? 2.0 : 3.0
            let factor = pow(1 - 0.5 * 0.5 * 0.2, decays)
            let error = zip(parameter.weight.elements, start.weight.elements).map {
                abs(Double($0) - factor * Double($1))
            }
            #expect(error.max() ?? 1 < 1e-6, "\(parameter.name)")
        }
    }

    /// The decay is of the weight before the update, or of what the update makes of it.
    @Test(arguments: entries)
    func decayComesWhereTheRuleSays(_ entry: Entry) throws {
        func weights(decay: Double) throws -> [Parameter] {
            let parameters = Self.parameters()
            let optimizer = Optimizer(
                try entry.configuration("lr: 0.5, weight_decay: \(decay)"), parameters: parameters,
                pool: WorkerPool(threads: testWorkers))
            // SOAP's first step only makes its bases.
            for step in 1...(entry.optimizer.name == "soap" ? 2 : 1) {
                Self.setGradients(parameters, step: step)
                try optimizer.step(learningRateFactor: 1)
            }
            return parameters
        }
        let (start, plain, decayed) = (Self.parameters(), try weights(decay: 0), try weights(decay: 0.8))
        for index in start.indices where start[index].role.isMatrix {
            for element in 0..<start[index].count {
                let new = plain[index].weight.data[element]
                let decaying = entry.optimizer.decayFollowsUpdate ? new : start[index].weight.data[element]
                #expect(abs(decayed[index].weight.data[element] - (new - 0.4 * decaying)) < 1e-5)
            }
        }
    }

    @Test(arguments: entries)
    func theFirstOfSeveralFailuresIsReported(_ entry: Entry) throws {
        for threads in [1, 3] {
            let parameters = Self.parameters()
            for parameter in parameters { parameter.gradient.data[0] = .nan }
            let optimizer = Optimizer(
                try entry.configuration(), parameters: parameters, pool: WorkerPool(threads: threads))
            let error = #expect(throws: NumericalError.self) {
                for _ in 1...2 { try optimizer.step(learningRateFactor: 1) }
            }
            #expect(error?.tensor == "embedding")
        }
    }

    @Test(arguments: entries)
    func gradientIsNotWritten(_ entry: Entry) throws {
        let parameters = Self.parameters()
        let optimizer = Optimizer(
            try entry.configuration(), parameters: parameters, pool: WorkerPool(threads: testWorkers))
        for step in 1...6 {
            Self.setGradients(parameters, step: step)
            let before = parameters.map { Array($0.gradient.elements) }
            try optimizer.step(learningRateFactor: 1)
            #expect(zip(parameters, before).allSatisfy { $0.gradient.elements.elementsEqual($1) }, "step \(step)")
        }
    }

    /// Zero, denormal, and as large as squares in float32 allow.
    @Test(arguments: entries, [0, .leastNonzeroMagnitude * 1000, 1e-20, 1e15])
    func extremeGradientsLeaveFiniteWeights(_ entry: Entry, scale: Float) throws {
        let parameters = try Self.run(entry, steps: 7, threads: testWorkers, scale: scale)
        for parameter in parameters { #expect(parameter.weight.matrix.isFinite, "\(parameter.name)") }
    }

    /// A gradient that is not finite, or whose square is not, ends in an error that names the parameter,
    /// never in a hang, a crash or a weight that is not finite in silence.
    @Test(arguments: entries, [Float.nan, .infinity, 1e38])
    func impossibleGradientIsAnErrorOrHarmless(_ entry: Entry, value: Float) throws {
        for name in ["gate", "down", "query", "norm", "embedding"] {
            for badStep in [1, 4] {
                let parameters = Self.parameters()
                let bad = try #require(parameters.first { $0.name == name })
                // A failure leaves no threads behind.
                weak var remaining: WorkerPool?
                defer { #expect(remaining == nil, "the pool of \(name) at step \(badStep) remains") }
                do {
                    let pool = WorkerPool(threads: testWorkers)
                    remaining = pool
                    let optimizer = Optimizer(try entry.configuration(), parameters: parameters, pool: pool)
                    for step in 1...badStep {
                        Self.setGradients(parameters, step: step)
                        if step == badStep { bad.gradient.data[bad.count / 2] = value }
                        try optimizer.step(learningRateFactor: 1)
                    }
                    #expect(parameters.allSatisfy { $0.weight.matrix.isFinite }, "\(name) at step \(badStep)")
                } catch let error as NumericalError {
                    #expect(error.tensor == name)
                }
            }
        }
    }

    @Test(arguments: entries)
    func zeroLearningRateLeavesTheWeights(_ entry: Entry) throws {
        let parameters = Self.parameters()
        let start = Self.bits(parameters)
        let optimizer = Optimizer(
            try entry.configuration(), parameters: parameters, pool: WorkerPool(threads: testWorkers))
        for step in 1...4 {
            Self.setGradients(parameters, step: step)
            try optimizer.step(learningRateFactor: 0)
        }
        #expect(Self.bits(parameters) == start)
    }

    @Test(arguments: entries)
    func configurationSurvivesBeingWrittenAndRead(_ entry: Entry) throws {
        let written = try entry.configuration().hyperparameters.yaml()
        #expect(try entry.optimizer.read(written).yaml() == written)
    }
}

extension OptimizerSettings {
    fileprivate static func read(_ yaml: String) throws -> any OptimizerSettings {
        try decode(Self.self, from: ConfigurationNode(yaml: yaml, file: "test.cfg"), at: "optimizer")
    }
}
