import Files
import Foundation
import TestSupport
import Testing

/// `scripts/import_data.py`, and runs with a tokenizer that SentencePiece cannot read.
@Suite struct ImportScriptTests {
    /// A tokenizer of bytes, as GPT-2's: byte pairs over letters that stand for bytes, and an added end of text.
    private static let tokenizer = """
        {"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
         "added_tokens": [{"id": 6, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
                           "normalized": false, "special": true}],
         "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
         "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
         "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                   "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "Ċ": 5},
                   "merges": [["a", "b"], ["Ġ", "ab"]]}}
        """

    /// A Python that has some packages; nil where none does. `scripts/import_data.py --venv .venv` makes one.
    private static func python(with packages: String) -> String? {
        [repositoryRoot.appending(path: ".venv/bin/python").path, "python3"].first {
            (try? run($0, ["-c", "import \(packages)"]))?.status == 0
        }
    }

    private static let absent: Comment = "there is no Python with the packages: scripts/import_data.py --venv .venv"

    private func importData(
        _ arguments: [String], with packages: String = "json", in folder: URL
    ) throws -> FinishedCommand {
        let script = repositoryRoot.appending(path: "scripts/import_data.py").path
        return try run(#require(Self.python(with: packages)), [script] + arguments, in: folder)
    }

    private func writeTokenizer(_ folder: URL) throws {
        try Data(Self.tokenizer.utf8).write(to: folder.appending(path: "tokenizer.json"))
    }

    private func configure(_ folder: URL, tokenizer: String = "tokenizer.json", vocabulary: Int = 8) throws {
        let text = """
            model: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2,
                    vocab_size: \(vocabulary), max_position_embeddings: 16}
            data: {train: train, tokenizer: \(tokenizer), sequence_length: 8}
            optimizer: {name: adamw, lr: 1.0e-2}
            training: {steps: 2, batch_size: 2, threads: 1}
            output: {run_dir: run}
            """
        try Data(text.utf8).write(to: folder.appending(path: "run.cfg"))
    }

    /// Shards as the script writes them, of the tokenizer with this fingerprint.
    private func writeShards(_ folder: URL, fingerprint: UInt64) throws {
        try FileManager.default.createDirectory(at: folder.appending(path: "train"), withIntermediateDirectories: true)
        let file = folder.appending(path: "train/train_000000.bin")
        try writeShard((0..<400).map { UInt16($0 % 7) }, to: file.path, endOfTextID: 6)
        var bytes = try Data(contentsOf: file)
        withUnsafeBytes(of: UInt32(7).littleEndian) { bytes.replaceSubrange(12..<16, with: $0) }
        withUnsafeBytes(of: fingerprint.littleEndian) { bytes.replaceSubrange(24..<32, with: $0) }
        try bytes.write(to: file)
    }

    private func fingerprint(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    @Test func aTokenizerJSONTravelsWithTheModel() throws {
        try withTemporaryFolder { folder in
            try writeTokenizer(folder)
            try writeShards(folder, fingerprint: fingerprint(Self.tokenizer))
            try configure(folder)
            let training = try run(program, ["--config", "run.cfg"], in: folder)
            #expect(training.status == 0, "\(training.errorOutput)")
            #expect(try run(program, ["export", "run", "--output", "export"], in: folder).status == 0)
            for model in ["run/checkpoints/latest", "export"] {
                let files = folder.appending(path: model)
                let copy = try String(contentsOf: files.appending(path: "tokenizer.json"), encoding: .utf8)
                #expect(copy == Self.tokenizer)
                #expect(!FileManager.default.fileExists(atPath: files.path + "/tokenizer.model"))
                let names = try JSONValue(
                    json: [UInt8](Data(contentsOf: files.appending(path: "tokenizer_config.json"))))
                #expect(names.tokenizer_class == .string("PreTrainedTokenizerFast"))
                #expect(names.eos_token == .string("<|endoftext|>") && names.bos_token == .null)
                let config = try JSONValue(json: [UInt8](Data(contentsOf: files.appending(path: "config.json"))))
                #expect(config.eos_token_id == .integer(6) && config.bos_token_id == .null)
                let generation = try run(program, ["generate", model], in: folder)
                #expect(generation.status == 64)
                #expect(
                    generation.errorOutput.contains(
                        "no tokenizer.model, only a tokenizer.json, which SentencePiece cannot read\nhint: let transformers"
                    ),
                    "\(generation.errorOutput)")
            }
            #expect(try run(program, ["eval", "run", "--data", "train"], in: folder).status == 0)

            // Another one than the shards', one with more ids than the model, one that is none.
            try Data((Self.tokenizer + "\n").utf8).write(to: folder.appending(path: "other.json"))
            try Data(Self.tokenizer.prefix(500).utf8).write(to: folder.appending(path: "cut.json"))
            try Data(#"{"model": {"vocab": {"a": -1}}}"#.utf8).write(to: folder.appending(path: "ids.json"))
            for (tokenizer, vocabulary, words) in [
                ("other.json", 8, "other.json and the shards of train have different tokenizers"),
                ("tokenizer.json", 6, "tokenizer.json has 7 token ids, the model only 6"),
                ("cut.json", 8, "cut.json is no tokenizer.json: "), ("ids.json", 8, "ids.json is no tokenizer.json: "),
            ] {
                try configure(folder, tokenizer: tokenizer, vocabulary: vocabulary)
                let refused = try run(program, ["--config", "run.cfg", "--replace"], in: folder)
                #expect(refused.status == 65 && refused.errorOutput.contains(words), "\(refused.errorOutput)")
            }
        }
    }

    @Test(.enabled(if: python(with: "json") != nil, absent)) func textBecomesJSONLines() throws {
        try withTemporaryFolder { folder in
            try Data("é\n  x".utf8).write(to: folder.appending(path: "a.txt"))
            try Data("{\"body\": \"b\\tc\"}\n\n{\"body\": \"\"}\n".utf8).write(to: folder.appending(path: "b.jsonl"))
            let command = try importData(
                ["--input", "b.jsonl", "--column", "body", "--output", "out", "--prefix", "b"], in: folder)
            #expect(command.status == 0 && command.output.contains("documents                 2\n"))
            #expect(try importData(["--input", "a.txt", "--output", "out", "--prefix", "a"], in: folder).status == 0)
            let again = try importData(["--input", "a.txt", "--output", "out", "--prefix", "a"], in: folder)
            #expect(again.status == 64 && again.errorOutput.contains("is already there"))
            let text = try run("bash", ["-c", "gzip -dc out/a_000000.jsonl.gz out/b_000000.jsonl.gz"], in: folder)
            #expect(text.output == "{\"text\": \"é\\n  x\"}\n{\"text\": \"b\\tc\"}\n{\"text\": \"\"}\n")
            let bad = try importData(["--input", "b.jsonl", "--output", "bad"], in: folder)
            #expect(bad.status == 65 && bad.errorOutput == "error: b.jsonl:1: no object with a string `text`\n")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/bad") == [])
        }
    }

    @Test(.enabled(if: python(with: "numpy") != nil, absent)) func tokensOfOthersBecomeShards() throws {
        try withTemporaryFolder { folder in
            let tokens = (0..<400).map { UInt16($0 % 7) }
            try Data(tokens.flatMap { [UInt8($0), 0] }).write(to: folder.appending(path: "raw.bin"))
            let arguments = ["--input", "raw.bin", "--output", "train", "--end-of-text-id", "6"]
            let command = try importData(arguments + ["--vocab-size", "7"], with: "numpy", in: folder)
            #expect(command.status == 0 && command.output.contains("documents                 57\n"))
            let made = try Data(contentsOf: folder.appending(path: "train/train_000000.bin"))
            try writeShards(folder, fingerprint: 0)
            #expect(try made == Data(contentsOf: folder.appending(path: "train/train_000000.bin")))
            let outside = try importData(arguments + ["--vocab-size", "6", "--force"], with: "numpy", in: folder)
            #expect(outside.status == 64)
        }
    }

    @Test(.enabled(if: python(with: "numpy, pyarrow, tokenizers") != nil, absent))
    func parquetBecomesShardsByATokenizerJSON() throws {
        try withTemporaryFolder { folder in
            try writeTokenizer(folder)
            let packages = "numpy, pyarrow, tokenizers"
            // What spells the end of a text within one does not end it: here it has letters outside the vocabulary.
            let make = """
                import pyarrow, pyarrow.parquet
                texts = ["ab ab\\n", "", "b<|endoftext|>a"] + ["ab"] * 20
                pyarrow.parquet.write_table(pyarrow.table({"text": texts}), "text.parquet")
                """
            #expect(try run(#require(Self.python(with: packages)), ["-c", make], in: folder).status == 0)
            let command = try importData(
                ["--input", "text.parquet", "--tokenizer", "tokenizer.json", "--output", "train"], with: packages,
                in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(command.output.contains("documents                 22\nempty documents left out  1\n"))
            let shard = try Data(contentsOf: folder.appending(path: "train/train_000000.bin"))
            #expect(Array(shard[1024..<1038]) == [3, 0, 4, 0, 5, 0, 6, 0, 1, 0, 0, 0, 6, 0])
            let found = shard[24..<32].reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
            #expect(found == fingerprint(Self.tokenizer))
            try configure(folder)
            #expect(try run(program, ["--config", "run.cfg"], in: folder).status == 0)
        }
    }
}
