import Foundation
import TokenData

/// `trainer.json`: all of a run's state that is neither a tensor nor a setting. With the weights, the optimizer's
/// tensors and the settings (`run.cfg`) it continues the run bit for bit.
public struct TrainerState: Codable, Equatable, Sendable {
    /// Where the run stands in its data, and what data that is.
    public struct DataState: Codable, Equatable, Sendable {
        public var windowCount: Int
        /// `TokenDataset.contentFingerprint` of the training tokens.
        public var contentFingerprint: UInt32
        /// The fingerprint of the tokenizer that made the training tokens; nil where their shards do not say.
        public var tokenizerFingerprint: UInt64?
        public var position: BatchSampler.Position

        public init(
            windowCount: Int, contentFingerprint: UInt32, tokenizerFingerprint: UInt64? = nil,
            position: BatchSampler.Position
        ) {
            (self.windowCount, self.position) = (windowCount, position)
            (self.contentFingerprint, self.tokenizerFingerprint) = (contentFingerprint, tokenizerFingerprint)
        }
    }

    /// The optimizer; its tensors are in `optimizer.safetensors`.
    public struct OptimizerState: Codable, Equatable, Sendable {
        public var name: String
        /// Integers of the optimizer's state, such as the steps that it has made.
        public var counters: [String: Int]

        public init(name: String, counters: [String: Int]) {
            (self.name, self.counters) = (name, counters)
        }
    }

    public struct RunIdentity: Codable, Equatable, Sendable {
        /// Differs from run to run.
        public var id: String
        public var name: String
        /// ISO 8601, UTC.
        public var created: String

        public init(name: String) {
            id = UUID().uuidString.lowercased()
            self.name = name
            created = Date.now.ISO8601Format()
        }
    }

    /// What is impossible in this state; nil where nothing is.
    var problem: String? {
        // Nothing is counted beyond that, and sums would overflow.
        let counts = 0...1 << 53
        if !counts.contains(step) { return "step is \(step)" }
        if !counts.contains(tokens) { return "tokens is \(tokens)" }
        if !counts.contains(data.position.epoch) { return "data.position.epoch is \(data.position.epoch)" }
        if !(0..<max(1, data.windowCount)).contains(data.position.index) {
            return "data.position.index is \(data.position.index), of \(data.windowCount) windows"
        }
        if let count = optimizer.counters["step"], !(0...step).contains(count) {
            return "optimizer.counters.step is \(count), at step \(step)"
        }
        if let row = pendingRow, row.step != step || step == 0 {
            return "pendingRow.step is \(row.step), at step \(step)"
        }
        return nil
    }

    public var step: Int
    public var tokens: Int
    public var data: DataState
    public var optimizer: OptimizerState
    public var run: RunIdentity
    /// The log's row of the last step, where the run was stopped before its validation was complete.
    public var pendingRow: LogRow?

    public init(
        step: Int, tokens: Int, data: DataState, optimizer: OptimizerState, run: RunIdentity,
        pendingRow: LogRow? = nil
    ) {
        (self.step, self.tokens, self.data, self.optimizer) = (step, tokens, data, optimizer)
        (self.run, self.pendingRow) = (run, pendingRow)
    }
}
