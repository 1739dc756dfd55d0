import Comparison
import Foundation
import TestSupport

/// The folder of a run that never took place: configuration, log, and what it said.
struct SyntheticRun {
    var name: String
    var optimizer = "adamw"
    var lr = 1e-3
    var seed = 1
    var steps = 100
    var batchSize = 8
    var schedule = "{name: cosine, warmup: 10}"
    var extra = ""
    /// Rows in the log; nil: all.
    var rows: Int?
    var every = 10
    var trainLog = ""
    /// Events of the history besides the start, as JSON; nil: a run of an older version, which has none.
    var events: [String]? = []
    var loss: (_ step: Int) -> Double

    init(_ name: String, loss: @escaping (Int) -> Double) {
        self.name = name
        self.loss = loss
    }

    var tokensPerStep: Int { batchSize * 32 }

    @discardableResult
    func write(in folder: URL) throws -> String {
        let path = folder.appending(path: name)
        try FileManager.default.createDirectory(at: path, withIntermediateDirectories: true)
        let configuration = """
            model: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 32,
                    max_position_embeddings: 32}
            data: {train: train.bin, validation: validation.bin, sequence_length: 32, seed: \(seed)}
            optimizer: {name: \(optimizer), lr: \(lr)\(extra)}
            schedule: \(schedule)
            training: {steps: \(steps), batch_size: \(batchSize), seed: \(seed)}
            evaluation: {every: \(every)}
            output: {run_dir: \(path.path)}
            """
        var log = """
            step,tokens,train_loss,validation_loss,validation_perplexity,learning_rate,gradient_norm,\
            step_seconds,tokens_per_second,optimizer_seconds,peak_rss_bytes\n
            """
        for step in 1...max(1, rows ?? steps) where rows != 0 {
            let value = loss(step)
            let validation = step % every == 0 || step == steps ? "\(value),\(exp(value))" : ","
            log += "\(step),\(step * tokensPerStep),\(value),\(validation),\(lr),1.0,0.5,512.0,0.125,1000000\n"
        }
        for (file, text) in [("config.resolved.cfg", configuration), ("log.csv", log), ("train.log", trainLog)] {
            try Data(text.utf8).write(to: path.appending(path: file))
        }
        if let events {
            let all = [#"{"kind": "start", "step": 0, "time": "2026-01-01T00:00:00Z"}"#] + events
            try Data("[\(all.joined(separator: ", "))]".utf8).write(to: path.appending(path: "history.json"))
        }
        return path.path
    }
}

/// Writes runs, reads them back and hands them on.
func withRuns<Result>(_ runs: [SyntheticRun], _ body: ([RunRecord], URL) throws -> Result) throws -> Result {
    try withTemporaryFolder { folder in
        let paths = try runs.map { try $0.write(in: folder) }
        return try body(findRuns(paths), folder)
    }
}

/// A loss that falls to `final` at step `steps`.
func falling(to final: Double, steps: Int = 100) -> (Int) -> Double {
    { step in final + 2 * (1 - Double(step) / Double(steps)) }
}

/// One run for each final loss, its seed counted from 1.
func runs(
    _ optimizer: String, lr: Double = 1e-3, _ losses: [Double], change: (inout SyntheticRun) -> Void = { _ in }
) -> [SyntheticRun] {
    losses.enumerated().map { index, loss in
        var run = SyntheticRun("\(optimizer)-\(lr)-\(index + 1)", loss: falling(to: loss))
        (run.optimizer, run.lr, run.seed) = (optimizer, lr, index + 1)
        change(&run)
        return run
    }
}
