import Foundation
import LLaMA
import ModelFiles
import TensorCore
import TestSupport
import Testing

/// What SIGINT and SIGTERM do to each command: 75 where its work can go on, else the signal's own status with a word
/// and nothing half-written.
@Suite struct SignalTests {
    /// Runs the program, calls `body` while it runs, and says how it ended.
    private func start(
        _ arguments: [String], in folder: URL, _ body: (Process) throws -> Void
    ) throws -> (reason: Process.TerminationReason, status: Int32, errors: String) {
        try withTemporaryFolder { files in
            let errors = files.appending(path: "errors")
            try Data().write(to: errors)
            let process = Process()
            process.executableURL = URL(filePath: program)
            process.arguments = arguments
            process.currentDirectoryURL = folder
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = FileHandle.nullDevice
            process.standardError = try FileHandle(forWritingTo: errors)
            try process.run()
            try body(process)
            process.waitUntilExit()
            return (
                process.terminationReason, process.terminationStatus, try String(contentsOf: errors, encoding: .utf8)
            )
        }
    }

    private func prepare(_ folder: URL) throws {
        try writeShard(learnableTokens(2_001, vocabulary: 32, seed: 1), to: folder.path + "/train.bin")
        let text = """
            model: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 32,
                    max_position_embeddings: 32}
            data: {train: train.bin, validation: train.bin, sequence_length: 32}
            optimizer: {name: adamw, lr: 1.0e-2}
            training: {steps: 4, batch_size: 4, threads: 1}
            output: {run_dir: run}
            """
        try Data(text.utf8).write(to: folder.appending(path: "run.cfg"))
    }

    @Test(arguments: [SIGINT, SIGTERM]) func plansAndTokenizersEndOfTheSignalAndSaySo(signal: Int32) throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            try #require(mkfifo(folder.path + "/slow.txt", 0o600) == 0)
            // The pipe stays empty: the tokenizer waits for text.
            let tokenizer = ["tokenizer", "--input", "slow.txt", "--output", "t.model", "--vocab-size", "60"]
            for arguments in [["plan", "run.cfg"], tokenizer] {
                let writer = open(folder.path + "/slow.txt", O_RDWR | O_CLOEXEC)
                defer { close(writer) }
                let end = try start(arguments, in: folder) {
                    usleep(700_000)
                    kill($0.processIdentifier, signal)
                }
                #expect(end.reason == .uncaughtSignal && end.status == signal, "\(arguments): \(end)")
                #expect(
                    end.errors.contains("\nstopped by \(signal == SIGINT ? "SIGINT" : "SIGTERM"); "), "\(end.errors)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 3)
        }
    }

    /// A model of 100 MB, which takes a moment to write.
    @Test func anExportThatIsInterruptedLeavesNothing() throws {
        try withTemporaryFolder { folder in
            var config = LLaMAConfig()
            (config.hiddenSize, config.intermediateSize, config.numHiddenLayers) = (512, 512, 1)
            (config.numAttentionHeads, config.numKeyValueHeads, config.vocabSize) = (8, 8, 50_000)
            config.tieWordEmbeddings = true
            let model = LLaMA(config: config, pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: 1)
            try FileManager.default.createDirectory(
                at: folder.appending(path: "model"), withIntermediateDirectories: true)
            try HuggingFaceConfig.encode(config, tokenizer: nil).write(to: folder.appending(path: "model/config.json"))
            try SafeTensors.write(
                model.parameters.map { NamedTensor($0.name, $0.weight) }, to: folder.path + "/model/model.safetensors")
            let end = try start(["export", "model", "--output", "copy"], in: folder) { process in
                func isWriting() throws -> Bool {
                    try FileManager.default.contentsOfDirectory(atPath: folder.path).contains { $0.contains(".tmp-") }
                }
                while try process.isRunning && !isWriting() { usleep(1000) }
                kill(process.processIdentifier, SIGTERM)
            }
            #expect(end.reason == .uncaughtSignal && end.status == SIGTERM, "\(end)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["model"])
        }
    }

    /// SOAP renews its bases at every step, which takes seconds and cannot be stopped in the middle.
    @Test func aLongOptimizerStepIsWaitedForInWords() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let end = try start(
                [
                    "run.cfg", "--set", "optimizer={name: soap, precondition_frequency: 1}", "--set",
                    "model.hidden_size=512", "--set", "model.intermediate_size=1024", "--set",
                    "model.num_hidden_layers=1",
                    "--set", "training.batch_size=1",
                ], in: folder
            ) { process in
                while process.isRunning, !FileManager.default.fileExists(atPath: folder.path + "/run/log.csv") {
                    usleep(10_000)
                }
                usleep(700_000)
                kill(process.processIdentifier, SIGTERM)
            }
            #expect(end.reason == .exit && end.status == 75, "\(end)")
            #expect(end.errors.contains("stopping: waiting for the end of the optimizer's step "), "\(end.errors)")
            let log = try String(contentsOf: folder.appending(path: "run/train.log"), encoding: .utf8)
            #expect(log.contains("; continue with --resume"))
        }
    }
}
