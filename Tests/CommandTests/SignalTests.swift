import Foundation
import LLaMA
import ModelFiles
import TensorCore
import TestSupport
import Testing

/// What SIGINT and SIGTERM do to each command: 75 where its work can go on, else the signal's own status with a word
/// and nothing half-written.
@Suite struct SignalTests {
    @Test(arguments: [SIGINT, SIGTERM]) func plansAndTokenizersEndOfTheSignalAndSaySo(signal: Int32) throws {
        try withTemporaryFolder { folder in
            try TinyRun().write(to: folder)
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
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 4)
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
            try TinyRun().write(to: folder)
            let end = try start(
                [
                    "run.cfg", "--set", "optimizer={name: soap, precondition_frequency: 1}", "--set",
                    "model.hidden_size=512", "--set", "model.intermediate_size=1024", "--set",
                    "model.num_hidden_layers=1",
                    "--set", "training.batch_size=1",
                ], in: folder
            ) { process in
                // Early in the second step, nearly all of which is the optimizer's.
                waitForRows(1, of: "run", in: folder)
                usleep(200_000)
                kill(process.processIdentifier, SIGTERM)
            }
            #expect(end.reason == .exit && end.status == 75, "\(end)")
            #expect(end.errors.contains("stopping: waiting for the end of the optimizer's step "), "\(end.errors)")
            let log = try String(contentsOf: folder.appending(path: "run/train.log"), encoding: .utf8)
            #expect(log.contains("; continue with --resume"))
        }
    }
}
