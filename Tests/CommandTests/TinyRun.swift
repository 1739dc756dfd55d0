import Foundation
import TestSupport

/// A run so small that a test can afford it: data, and `run.cfg`.
struct TinyRun {
    var steps = 4
    var batchSize = 4
    /// Of the training data; the validation data has a quarter as many.
    var tokens = 2_001
    /// Of a sequence, and the width of the model.
    var length = 32
    var checkpointEvery = 500

    func write(to folder: URL) throws {
        try writeShard(learnableTokens(tokens, vocabulary: 32, seed: 1), to: folder.path + "/train.bin")
        try writeShard(learnableTokens(tokens / 4 + 1, vocabulary: 32, seed: 2), to: folder.path + "/validation.bin")
        let text = """
            model: {hidden_size: \(length), intermediate_size: \(length * 3 / 2), num_hidden_layers: \(length / 16),
                    num_attention_heads: \(length / 8), vocab_size: 32, max_position_embeddings: \(length)}
            data: {train: train.bin, validation: validation.bin, sequence_length: \(length)}
            optimizer: {name: adamw, lr: 1.0e-2}
            schedule: {name: linear, warmup: 2}
            training: {steps: \(steps), batch_size: \(batchSize), threads: 1}
            evaluation: {every: 5, tokens: 2000}
            output: {run_dir: run, checkpoint_every: \(checkpointEvery)}
            """
        try Data(text.utf8).write(to: folder.appending(path: "run.cfg"))
    }
}

/// Starts the program, calls `body` while it runs, and says how it ended.
func start(
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
        return (process.terminationReason, process.terminationStatus, try String(contentsOf: errors, encoding: .utf8))
    }
}

/// Waits until the log of `run` has more than `rows` lines, at most half a minute.
func waitForRows(_ rows: Int, of run: String, in folder: URL) {
    for _ in 0..<6000 {
        let log = (try? String(contentsOfFile: folder.path + "/\(run)/log.csv", encoding: .utf8)) ?? ""
        if log.count(where: { $0 == "\n" }) > rows { return }
        usleep(5000)
    }
}

/// Data and `run.cfg` in `folder`.
func prepare(_ folder: URL, steps: Int = 40, batchSize: Int = 8) throws {
    try TinyRun(steps: steps, batchSize: batchSize, tokens: 8_001, checkpointEvery: 7).write(to: folder)
}

func train(_ arguments: String..., in folder: URL) throws -> FinishedCommand {
    try run(program, ["--config", "run.cfg"] + arguments, in: folder)
}

/// What a run ends in: the log without times, the weights, the optimizer's state.
func results(_ run: String, in folder: URL) throws -> [Data] {
    let log = try String(contentsOf: folder.appending(path: "\(run)/log.csv"), encoding: .utf8)
    let columns = log.split(separator: "\n").map { line in
        line.split(separator: ",", omittingEmptySubsequences: false).prefix(7).joined(separator: ",")
    }
    return [Data(columns.joined(separator: "\n").utf8)]
        + (try ["model", "optimizer"].map {
            try Data(contentsOf: folder.appending(path: "\(run)/checkpoints/latest/\($0).safetensors"))
        })
}
