import Configuration
import Console
import Foundation
import LLaMA
import Settings
import TestSupport
import Testing
import TokenData

/// A whole configuration, to be changed by assignments.
let minimalConfiguration = """
    model: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2, vocab_size: 64,
            max_position_embeddings: 8}
    data: {train: data/train, sequence_length: 8}
    optimizer: {name: adamw, lr: 1.0e-3}
    schedule: {name: linear, warmup: 2}
    training: {steps: 10, batch_size: 4}
    output: {run_dir: runs/test}
    """

@Suite("Run configuration")
struct RunConfigurationTests {
    /// Writes files into a folder of their own and hands the first one's path on.
    private func withFiles<Result>(_ files: [(String, String)], _ body: (String) throws -> Result) throws -> Result {
        let folder = NSTemporaryDirectory() + "configuration-\(UUID())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, text) in files { try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)")) }
        return try body("\(folder)/\(files[0].0)")
    }

    private func load(_ assignments: String...) throws -> RunConfiguration {
        try withFiles([("run.cfg", minimalConfiguration)]) { try RunConfiguration(file: $0, assignments: assignments) }
    }

    @Test("What other programs call a setting leads to a setting that there is")
    func foreignNames() throws {
        let known = try load().values.map(\.key)
        for (name, path) in foreignKeys { #expect(known.contains(path), "\(name) leads to \(path)") }
        #expect(foreignKeys["learning_rate"] == "optimizer.lr" && foreignKeys["num_layers"] != nil)
    }

    @Test("packing is true or false; the words of older configurations are read")
    func packing() throws {
        for (text, packing) in [
            ("true", Packing.stream), ("false", .documents), ("stream", .stream), ("documents", .documents),
        ] {
            let configuration = try load("data.packing=\(text)")
            #expect(configuration.data.packing == packing)
            #expect(configuration.yaml.contains("packing: \(packing == .stream) "))
        }
        let error = #expect(throws: UserError.self) { try load("data.packing=yes") }
        #expect(error?.message.contains("data.packing: yes is not true or false") == true)
    }

    /// The files in configs/ with the configurations that they make. Those of studies leave the optimizer to a sweep.
    private func shipped() throws -> [(file: String, configuration: RunConfiguration)] {
        let folder = repositoryRoot.appending(path: "configs").path
        return try FileManager.default.subpathsOfDirectory(atPath: folder).filter { $0.hasSuffix(".cfg") }.map {
            let assignments = $0.hasPrefix("studies/") ? ["optimizer.name=adamw"] : []
            return ($0, try RunConfiguration(file: "\(folder)/\($0)", assignments: assignments))
        }
    }

    @Test("Every file in configs/ is a configuration, and what its header says of its size is true")
    func shippedFiles() throws {
        let files = try shipped()
        #expect(files.count >= 5)
        for (file, configuration) in files where !file.hasPrefix("studies/") {
            let text = try String(
                contentsOf: repositoryRoot.appending(path: "configs").appending(path: file), encoding: .utf8)
            // An overlay leaves the sizes to its base.
            if text.contains("\nbase: ") || text.hasPrefix("base: ") { continue }
            func numbers(_ row: String) -> [Double] {
                text.split(separator: "\n").first { $0.hasPrefix("#   \(row) ") }?.matches(
                    of: /[0-9][0-9.,]*(e[0-9]+)?/
                )
                .compactMap { Double($0.output.0.replacing(",", with: "")) } ?? []
            }
            let (model, flops) = (
                configuration.model, FLOPCount(configuration.model, sequenceLength: configuration.data.sequenceLength)
            )
            let table = model.vocabSize * model.hiddenSize
            let gains = (2 * model.numHiddenLayers + 1) * model.hiddenSize
            let hidden = flops.matrixParameters - table + gains
            #expect(
                numbers("parameters") == [Double(hidden + (model.tieWordEmbeddings ? 1 : 2) * table), Double(hidden)],
                "\(file)")
            #expect(
                numbers("tokens").suffix(2) == [Double(configuration.steps), Double(configuration.tokensPerStep)],
                "\(file)")
            let work = [
                flops.trainingPerToken,
                flops.trainingPerToken * Double(configuration.steps * configuration.tokensPerStep),
            ]
            let stated = numbers("FLOPs")
            #expect(stated.count == 2 && zip(stated, work).allSatisfy { abs($0 / $1 - 1) < 0.05 }, "\(file): \(work)")
        }
    }

    @Test("Every file in configs/ written out with all defaults is the same configuration")
    func resolved() throws {
        for (file, configuration) in try shipped() {
            let again = try RunConfiguration(ConfigurationNode(yaml: configuration.yaml, file: file))
            #expect(again.yaml == configuration.yaml)
            #expect(configuration.differences(from: again).isEmpty)
        }
    }

    @Test("docs/configuration.md has the tables that the program has")
    func documentation() throws {
        let text = try String(contentsOf: repositoryRoot.appending(path: "docs/configuration.md"), encoding: .utf8)
        for (section, table) in RunConfiguration.documentation {
            let expected = "### `\(section)`\n\n```\n\(table)\n```\n"
            let isThere = text.contains(expected)
            #expect(isThere, "docs/configuration.md should contain:\n\(expected)")
        }
    }

    @Test("What is left out has its default")
    func defaults() throws {
        let configuration = try load()
        #expect(configuration.training.microBatchSize == 4)
        #expect(configuration.model.numKeyValueHeads == 2)
        #expect(configuration.model.headDim == 8)
        #expect(configuration.evaluation.every == 250)
        #expect(configuration.output.keepCheckpoints == 3)
        #expect(configuration.data.validation == nil)
        #expect(configuration.tokensPerStep == 32)
    }

    @Test("Tokens stand in place of steps, rounded up to a whole step, and the last given counts")
    func tokens() throws {
        #expect(try load("training.tokens=5.0e9").steps == 156_250_000)
        #expect(try load("training.tokens=33").steps == 2)
        #expect(try load("training.tokens=33", "training.tokens=null", "training.steps=4").steps == 4)
    }

    @Test("Assignments count whatever their order, and another optimizer starts from its own defaults")
    func assignments() throws {
        let configuration = try load("optimizer.lr=0.5", "training.seed=7", "optimizer.betas=[0.8, 0.9]")
        #expect(configuration.training.seed == 7)
        #expect(configuration.optimizer.hyperparameters.lr == 0.5)
        #expect(configuration.yaml.contains("betas: [0.8, 0.9]"))
    }

    @Test("A file rests on its base, relative to its own folder; another optimizer replaces the base's whole")
    func base() throws {
        let overlay = "base: base.cfg\ntraining: {tokens: 64}\noutput: {run_dir: runs/other}\n"
        let configuration = try withFiles([("run.cfg", overlay), ("base.cfg", minimalConfiguration)]) {
            try RunConfiguration(file: $0)
        }
        #expect(configuration.steps == 2)
        #expect(configuration.output.runDirectory == "runs/other")
        #expect(configuration.optimizer.hyperparameters.lr == 1e-3)

        let error = #expect(throws: UserError.self) {
            let other = "base: base.cfg\noptimizer: {name: adamv}\n"
            return try withFiles([("run.cfg", other), ("base.cfg", minimalConfiguration)]) {
                try RunConfiguration(file: $0)
            }
        }
        #expect(error?.message.contains("run.cfg:2: optimizer.name: there is no optimizer adamv") == true)
        #expect(error?.hint == "did you mean `adamw`?")
    }

    @Test(
        "A base that is missing, or rests on its own overlay, is refused at its line",
        arguments: [("nowhere.cfg", "run.cfg:1: base: cannot open "), ("run.cfg", "run.cfg:1: base: run.cfg rests on")])
    func badBase(name: String, message: String) throws {
        let error = #expect(throws: UserError.self) {
            try withFiles([("run.cfg", "base: \(name)\n")]) { try RunConfiguration(file: $0) }
        }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test(
        "An impossible value is refused",
        arguments: [
            ("model.hidden_size=15", "model.hidden_size: 15 is not divisible by num_attention_heads, 2"),
            ("model.hidden_size=18", "model.num_attention_heads: 2 heads of hidden_size 18 have an odd dimension, 9"),
            ("model.num_key_value_heads=3", "model.num_key_value_heads: 3 does not divide num_attention_heads, 2"),
            ("model.vocab_size=0", "model.vocab_size: 0 must be from 2 to"),
            ("model.rope_theta=.nan", "model.rope_theta: .nan is not a number"),
            ("model.hiden_size=8", "unknown key `model.hiden_size`"),
            ("modle.hidden_size=8", "unknown key `modle`"),
            ("data.sequence_length=9", "data.sequence_length: 9 is more than model.max_position_embeddings, 8"),
            ("data.sequence_length=0", "data.sequence_length: 0 must be from 1 to 1048576"),
            ("data.train=", "data.train: has no value"),
            ("optimizer.lr=-1", "optimizer.lr: -1 must be"),
            ("optimizer.lr=.inf", "optimizer.lr: .inf is not a number"),
            ("optimizer.betas=[0.9, 1.0]", "optimizer.betas: [0.9, 1.0] must be a list of 2 numbers, each at least 0"),
            ("optimizer.name=adam", "optimizer.name: there is no optimizer adam"),
            ("schedule.name=exponential", "schedule.name: exponential is not one of constant, linear, cosine, wsd"),
            ("schedule.warmup=11", "schedule.warmup: a warm-up of 11 steps is longer than the run of 10"),
            ("schedule.warmup=101%", "schedule.warmup: 101% is not a number of steps, or a share"),
            ("schedule.final_ratio=2", "schedule.final_ratio: 2 must be from 0.0 to 1.0"),
            ("training.steps=0", "training.steps: 0 must be from 1 to"),
            (
                "training={steps: 1.0e12, batch_size: 16777216}",
                "training.steps: 1000000000000 steps of 134217728 tokens"
            ),
            ("training.steps=null", "training.steps: is missing"),
            ("training={steps: 4, tokens: 9}", "training.tokens: 9 is given beside steps, 4"),
            ("training.batch_size=0", "training.batch_size: 0 must be"),
            ("training.micro_batch_size=5", "training.micro_batch_size: 5 is more than batch_size, 4"),
            ("training.gradient_lanes=3", "training.gradient_lanes: 3 is no power of two that divides batch_size, 4"),
            ("training.gradient_lanes=8", "training.gradient_lanes: 8 is no power of two that divides batch_size, 4"),
            (
                "training={gradient_lanes: 2, micro_batch_size: 4}",
                "training.micro_batch_size: 4 is more than batch_size, 4, over gradient_lanes, 2"
            ),
            (
                "training={micro_batch_size: 2, layerwise_updates: true}",
                "training.layerwise_updates: true, but a step of 4 sequences, 2 at a time, must keep their gradients"
            ),
            ("training.precision=fp16", "training.precision: fp16 is not one of fp32, bf16"),
            ("training.gradient_clip=-1", "training.gradient_clip: -1 must be 0 or greater"),
            ("training.seed=-1", "training.seed: -1 must be 0 or greater"),
            ("training.threads=1.5", "training.threads: 1.5 is not a whole number"),
            ("evaluation.tokens=0", "evaluation.tokens: 0 must be"),
            ("output.keep_checkpoints=0", "output.keep_checkpoints: 0 must be from 1 to 1000000"),
            ("output.run_dir=\"\"", "output.run_dir: \"\" must be not empty"),
        ])
    func impossible(assignment: String, message: String) throws {
        let error = #expect(throws: UserError.self) { try load(assignment) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        #expect(error?.kind == .usage)
    }

    @Test("A missing section is named with its required key")
    func missingSection() throws {
        let error = #expect(throws: UserError.self) {
            try withFiles([("run.cfg", "model: {vocab_size: 4}")]) { try RunConfiguration(file: $0) }
        }
        #expect(error?.message.hasSuffix("run.cfg:1: model.hidden_size is missing") == true, "\(error?.message ?? "")")
        let none = #expect(throws: UserError.self) {
            try withFiles([("run.cfg", "")]) { try RunConfiguration(file: $0) }
        }
        #expect(none?.message.hasSuffix("run.cfg: model.hidden_size is missing") == true, "\(none?.message ?? "")")
    }

    @Test("Differences name key, old and new value")
    func differences() throws {
        let changed = try load("training.seed=2", "output.run_dir=a").differences(from: load())
        #expect(changed.map(\.key) == ["training.seed", "output.run_dir"])
        #expect(changed.first?.old == "1")
        #expect(changed.first?.new == "2")
    }
}
