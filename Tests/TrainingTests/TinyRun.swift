import Console
import Foundation
import Settings
import TensorCore
import TestSupport
import Testing
import Training

/// Learnable data and the configuration of a tiny run, in a folder of its own.
final class TinyRun {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try writeShard(learnableTokens(4_001, vocabulary: 32, seed: 1), to: folder.file("train.bin"))
        try writeShard(learnableTokens(1_001, vocabulary: 32, seed: 2), to: folder.file("validation.bin"))
        let text = """
            model: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 4,
                    num_key_value_heads: 2, vocab_size: 32, max_position_embeddings: 16}
            data: {train: \(folder.file("train.bin")), validation: \(folder.file("validation.bin")), sequence_length: 16}
            optimizer: {name: adamw, lr: 1.0e-2}
            schedule: {name: cosine, warmup: 2, final_ratio: 0.1}
            training: {steps: 12, batch_size: 8, micro_batch_size: 4, threads: \(testWorkers)}
            evaluation: {every: 4, tokens: 500}
            output: {run_dir: \(folder.file("run")), checkpoint_every: 5}
            """
        try folder.write(Array(text.utf8), "run.cfg")
    }

    func configuration(_ assignments: [String]) throws -> RunConfiguration {
        try RunConfiguration(file: folder.file("run.cfg"), assignments: assignments)
    }

    /// Trains in the folder `name` beside the data.
    @discardableResult
    func train(
        _ name: String = "run", _ assignments: String..., purpose: RunDirectory.Purpose = .new,
        resetOptimizer: Bool = false, step: Int? = nil, cancellation: CancellationFlag = CancellationFlag()
    ) throws -> Trainer.Outcome {
        let configuration = try configuration(["output.run_dir=\(folder.file(name))"] + assignments)
        let setup = try RunSetup(
            configuration, purpose: purpose, resetOptimizer: resetOptimizer, step: step, status: try silentStatus())
        return try Trainer(setup, cancellation: cancellation).run()
    }

    /// The log's rows without the columns that measure time and memory.
    func log(_ name: String = "run") throws -> [[String]] {
        try folder.text("\(name)/log.csv").split(separator: "\n").dropFirst().map { line in
            Array(line.split(separator: ",", omittingEmptySubsequences: false).map(String.init).prefix(7))
        }
    }

    /// The newest checkpoint's weights and optimizer state.
    func tensors(_ name: String = "run") throws -> [[UInt8]] {
        try ["model", "optimizer"].map { try folder.bytes("\(name)/checkpoints/latest/\($0).safetensors") }
    }

    func expectEqual(_ a: String, _ b: String) throws {
        #expect(try log(a) == log(b))
        #expect(try tensors(a) == tensors(b))
    }

    func silentStatus() throws -> StatusLine {
        StatusLine(descriptor: open("/dev/null", O_WRONLY | O_CLOEXEC))
    }
}
