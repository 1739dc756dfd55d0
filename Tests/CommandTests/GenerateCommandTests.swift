import Foundation
import TestSupport
import Testing

/// The way from text to generated text, and `doctor`, as a user goes it.
@Suite struct GenerateCommandTests {
    /// A run of a few steps in `folder`/run.
    private func train(in folder: URL) throws {
        let lines = (0..<400).map { "{\"text\": \"Package \($0 % 13) provides tool number \($0 * 7919 % 100).\"}\n" }
        try Data(lines.joined().utf8).write(to: folder.appending(path: "text.jsonl"))
        let configuration = """
            model: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 1, num_attention_heads: 4,
                    vocab_size: 384, max_position_embeddings: 32}
            data: {train: shards, tokenizer: t.model, sequence_length: 32}
            optimizer: {name: adamw, lr: 1.0e-2}
            training: {steps: 20, batch_size: 8, micro_batch_size: 8, threads: 1}
            output: {run_dir: run}
            """
        try Data(configuration.utf8).write(to: folder.appending(path: "run.cfg"))
        for arguments in [
            [
                "tokenizer", "--input", "text.jsonl", "--output", "t.model", "--vocab-size", "295", "--model-type",
                "bpe",
            ],
            ["tokenize", "--tokenizer", "t.model", "--input", "text.jsonl", "--output", "shards"],
            ["--config", "run.cfg"],
        ] {
            let command = try run(program, arguments, in: folder)
            try #require(command.status == 0, "\(command.errorOutput)")
        }
    }

    @Test func aRunThatWasTrainedWritesText() throws {
        try withTemporaryFolder { folder in
            try train(in: folder)
            func generate(_ arguments: String...) throws -> FinishedCommand {
                try run(program, ["generate"] + arguments, in: folder)
            }
            let text = try generate("run", "--prompt", "Package", "--max-tokens", "12", "--threads", "1")
            #expect(text.status == 0, "\(text.errorOutput)")
            #expect(text.output.hasPrefix("Package") && text.output.hasSuffix("\n") && text.output.count > 9)
            #expect(text.errorOutput.contains("tokens/s"))
            // The same from the checkpoint's folder, with more threads.
            #expect(
                try generate("run/checkpoints/latest/", "--prompt", "Package", "--max-tokens", "12", "--threads", "3")
                    .output
                    == text.output)

            let samples = try generate("run", "--samples", "2", "--temperature", "0", "--max-tokens", "8").output
            let parts = samples.components(separatedBy: "--- sample ").dropFirst().map {
                $0.dropFirst("1 of 2 ---".count)
            }
            #expect(parts.count == 2)
            #expect(parts.first?.trimmingCharacters(in: .newlines) == parts.last?.trimmingCharacters(in: .newlines))
        }
    }

    /// Nothing can go on later: the signal ends them as any program, with a word.
    @Test(arguments: [SIGINT, SIGTERM]) func signalsEndReadersOfAModel(signal: Int32) throws {
        try withTemporaryFolder { folder in
            try train(in: folder)
            try writeShard(learnableTokens(2_000_000, vocabulary: 295, seed: 1), to: folder.path + "/large.bin")
            for arguments in [
                ["generate", "run", "--samples", "1000000", "--threads", "1"],
                ["eval", "run", "--data", "large.bin", "--sequence-length", "2", "--micro-batch-size", "1"],
            ] {
                let end = try start(arguments, in: folder) {
                    usleep(700_000)
                    kill($0.processIdentifier, signal)
                }
                #expect(end.reason == .uncaughtSignal && end.status == signal, "\(arguments): \(end)")
                #expect(end.errors.contains("\nstopped by SIG"), "\(end.errors)")
            }
        }
    }

    @Test func mistakesAreNamed() throws {
        try withTemporaryFolder { folder in
            for (arguments, words) in [
                (["nowhere"], "nowhere holds no model"), (["x", "--top-p", "1.5"], "--top-p 1.5"),
                (["x", "--temperature", "nan"], "--temperature nan"), (["x", "--max-tokens", "0"], "--max-tokens 0"),
            ] {
                let command = try run(program, ["generate"] + arguments, in: folder)
                #expect(command.status == 64)
                #expect(command.errorOutput.contains(words), "\(command.errorOutput)")
            }
        }
    }
}

@Suite struct DoctorCommandTests {
    @Test func everyLibraryAndTheMachineAreNamed() throws {
        let command = try run(program, ["doctor"])
        #expect(command.status == 0, "\(command.output)")
        for subject in [
            "build", "CPU", "bfloat16", "OpenBLAS", "LAPACKE", "SentencePiece", "zlib", "oneDNN", "kernels", "cores",
            "memory", "disk",
        ] {
            #expect(command.output.contains("  \(subject) "), "\(command.output)")
        }
    }

    @Test func slowKernelsThatTheEnvironmentForcesAreNamed() throws {
        let command = try run(program, ["doctor"], environment: ["OPENBLAS_CORETYPE": "Prescott"])
        #expect(command.output.contains("forced by OPENBLAS_CORETYPE=Prescott"))
        #expect(command.output.contains("-> unset OPENBLAS_CORETYPE"))
    }
}
