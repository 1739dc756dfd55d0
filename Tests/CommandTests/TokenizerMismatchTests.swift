import Foundation
import TestSupport
import Testing

/// Ids mean text by one tokenizer alone: every command refuses what has another one, or another vocabulary.
@Suite struct TokenizerMismatchTests {
    /// Tokenizers `a`, `b` and the larger `c`, shards of each, and `run` with `a`, in a folder.
    private func prepare(_ folder: URL) throws {
        let lines = (0..<300).map {
            "{\"text\": \"Package \($0 % 13) provides\\n  tool number \($0 * 7919 % 100).\"}\n"
        }
        try Data(lines.joined().utf8).write(to: folder.appending(path: "text.jsonl"))
        for (name, size) in [("a", "300"), ("b", "300"), ("c", "310")] {
            try succeed(
                ["tokenizer", "--input", "text.jsonl", "--output", "\(name).model", "--vocab-size", size]
                    + ["--model-type", "bpe"] + (name == "b" ? ["--pad-id", "-1"] : []), folder)
            try succeed(
                ["tokenize", "--tokenizer", "\(name).model", "--input", "text.jsonl", "--output", name], folder)
        }
        try configure("run.cfg", "{train: a, tokenizer: a.model, sequence_length: 32}", folder)
        try succeed(["--config", "run.cfg"], folder)
    }

    private func configure(_ name: String, _ data: String, _ folder: URL, training: String = "") throws {
        let configuration = """
            model: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2,
                    vocab_size: 300, max_position_embeddings: 32}
            data: \(data)
            optimizer: {name: adamw, lr: 1.0e-2}
            training: {steps: 2, batch_size: 2, threads: 1\(training)}
            output: {run_dir: \(name.dropLast(4))}
            """
        try Data(configuration.utf8).write(to: folder.appending(path: name))
    }

    private func succeed(_ arguments: [String], _ folder: URL) throws {
        let command = try run(program, arguments, in: folder)
        try #require(command.status == 0, "\(arguments): \(command.errorOutput)")
    }

    private func expectRefused(_ arguments: [String], _ words: String, _ folder: URL) throws {
        let command = try run(program, arguments, in: folder)
        #expect(command.status == 65, "\(arguments)")
        #expect(command.errorOutput.contains(words), "\(arguments): \(command.errorOutput)")
    }

    @Test func everyCommandRefusesAnotherTokenizer() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let words = "have different tokenizers"
            try succeed(["eval", "run", "--data", "a"], folder)
            try expectRefused(["eval", "run", "--data", "b"], "the shards of b \(words)", folder)
            try succeed(["generate", "run", "--tokenizer", "a.model", "--max-tokens", "2"], folder)
            try expectRefused(["generate", "run", "--tokenizer", "b.model"], "b.model \(words)", folder)
            // Where no tokenizer is named, shards and models still know theirs.
            try configure("two.cfg", "{train: a, validation: b, sequence_length: 32}", folder)
            try expectRefused(["--config", "two.cfg"], "the shards of a and the shards of b \(words)", folder)
            try configure("from.cfg", "{train: b, sequence_length: 32}", folder, training: ", init_from: run")
            try expectRefused(["--config", "from.cfg"], "the shards of b \(words)", folder)
            try configure("bare.cfg", "{train: a, sequence_length: 32}", folder)
            try succeed(["--config", "bare.cfg"], folder)
            try expectRefused(["eval", "bare", "--data", "b"], "the model of bare/checkpoints/", folder)
            // An exported model without its tokenizer's file cannot be checked, and that is said.
            try succeed(["export", "run", "--output", "model"], folder)
            try FileManager.default.removeItem(at: folder.appending(path: "model/tokenizer.model"))
            let unchecked = try run(program, ["eval", "model", "--data", "b"], in: folder)
            #expect(unchecked.status == 0 && unchecked.errorOutput.contains("does not say what its tokenizer is"))
        }
    }

    /// A checkpoint knows the tokenizer of its tokens, whatever file lies beside it.
    @Test func everyCommandRefusesATokenizerThatWasPutIntoACheckpoint() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let files = FileManager.default
            try files.copyItem(
                at: folder.appending(path: "run/checkpoints/step-00000002"), to: folder.appending(path: "model"))
            for file in ["tokenizer.model", "MANIFEST.json"] {
                try files.removeItem(at: folder.appending(path: "model/\(file)"))
            }
            try files.copyItem(
                at: folder.appending(path: "b.model"), to: folder.appending(path: "model/tokenizer.model"))
            try configure("from.cfg", "{train: b, sequence_length: 32}", folder, training: ", init_from: model")
            for arguments in [
                ["eval", "model", "--data", "b"], ["generate", "model"], ["export", "model", "--output", "out"],
                ["logits", "model", "--tokens", "5", "--output", "logits"], ["--config", "from.cfg"],
            ] {
                try expectRefused(
                    arguments, "tokenizer.model and the model of model have different tokenizers", folder)
            }
        }
    }

    @Test func everyCommandRefusesATokenizerWithMoreIDs() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            try FileManager.default.copyItem(
                at: folder.appending(path: "run/checkpoints/step-00000002"), to: folder.appending(path: "model"))
            try FileManager.default.removeItem(at: folder.appending(path: "model/tokenizer.model"))
            try FileManager.default.copyItem(
                at: folder.appending(path: "c.model"), to: folder.appending(path: "model/tokenizer.model"))
            try configure("from.cfg", "{train: a, sequence_length: 32}", folder, training: ", init_from: model")
            for arguments in [
                ["eval", "model", "--data", "a"], ["generate", "model"], ["export", "model", "--output", "out"],
                ["logits", "model", "--tokens", "5", "--output", "logits"], ["--config", "from.cfg"],
            ] {
                try expectRefused(arguments, "tokenizer.model has 310 token ids, the model of model only 300", folder)
            }
        }
    }

    /// The model is whole, and needs nothing of the run but its data.
    @Test func aConfigurationThatNoLongerReadsIsNotInTheWay() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            for file in ["config.resolved.cfg", "checkpoints/step-00000002/run.cfg"] {
                try Data("model: {no_such_key: 1}\n".utf8).write(to: folder.appending(path: "run/\(file)"))
            }
            // As an older version left it.
            let manifest = folder.appending(path: "run/checkpoints/step-00000002/MANIFEST.json")
            let text = try String(contentsOf: manifest, encoding: .utf8)
            try Data(text.replacing(/,?\s*"run\.cfg"\s*:\s*\{[^}]*\}/, with: "").utf8).write(to: manifest)
            try succeed(["generate", "run", "--max-tokens", "2"], folder)
            try succeed(["logits", "run", "--tokens", "5", "--output", "logits"], folder)
            try succeed(["export", "run", "--output", "out"], folder)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/out").sorted()
            #expect(
                names == [
                    "config.json", "model.safetensors", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                ])
            let evaluation = try run(program, ["eval", "run", "--data", "a"], in: folder)
            #expect(
                evaluation.status == 0 && evaluation.errorOutput.contains("no_such_key"), "\(evaluation.errorOutput)")
            let without = try run(program, ["eval", "run"], in: folder)
            #expect(without.status == 64 && without.errorOutput.contains("name the data with --data"))
        }
    }

    @Test func whatATokenizerLosesIsSaid() throws {
        try withTemporaryFolder { folder in
            let lines = (0..<100).map { "{\"text\": \"Package \($0) provides\\n  tools.\"}\n" }
            try Data(lines.joined().utf8).write(to: folder.appending(path: "text.jsonl"))
            for (arguments, loses) in [([], false), (["--normalization", "nmt_nfkc"], true)] {
                let training = try run(
                    program,
                    [
                        "tokenizer", "--input", "text.jsonl", "--output", "t.model", "--vocab-size", "300",
                        "--model-type", "bpe", "--force",
                    ]
                        + arguments,
                    in: folder)
                let tokenizing = try run(
                    program,
                    ["tokenize", "--tokenizer", "t.model", "--input", "text.jsonl", "--output", "shards", "--force"],
                    in: folder)
                for command in [training, tokenizing] {
                    #expect(command.status == 0, "\(command.errorOutput)")
                    #expect(command.output.contains("lossy") == loses, "\(command.output)")
                    #expect(command.output.contains("characters are replaced (nmt_nfkc)") == loses)
                }
            }
        }
    }
}
