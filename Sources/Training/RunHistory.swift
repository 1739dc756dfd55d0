import Files
import Foundation
import Machine

/// What has happened to a run: `history.json` in its folder, and a copy in every checkpoint.
///
/// A run is what its configuration says only if that held from the first step on. Here stands what made
/// its steps, and each setting that changed between two of them.
public struct RunHistory: Equatable, Sendable {
    /// Something that the numbers depend on and that was different before.
    public struct Change: Codable, Equatable, Sendable {
        public var setting: String
        public var old: String
        public var new: String

        public init(setting: String, old: String, new: String) {
            (self.setting, self.old, self.new) = (setting, old, new)
        }
    }

    public struct Event: Codable, Equatable, Sendable {
        public enum Kind: String, Codable, Sendable { case start, resume, stop, finish, failure }

        public var kind: Kind
        public var step: Int
        /// ISO 8601, UTC.
        public var time: String
        /// What makes the steps from here on.
        public var madeBy: Provenance?
        /// Fingerprints of the tokens, by the setting that names them.
        public var data: [String: UInt32]?
        public var changes: [Change]?
        /// The run whose checkpoint this one began with.
        public var forkOf: String?
        /// Whether the run later went on from a checkpoint that knows nothing of the changes.
        public var isUndone: Bool?

        public init(
            _ kind: Kind, step: Int, madeBy: Provenance? = nil, data: [String: UInt32]? = nil, changes: [Change] = []
        ) {
            self.kind = kind
            self.step = step
            self.madeBy = madeBy
            self.data = data
            time = Date.now.ISO8601Format()
            self.changes = changes.isEmpty ? nil : changes
        }
    }

    public static let fileName = "history.json"

    public private(set) var events: [Event] = []

    public init() {}

    /// Reads the history in a folder; nil where there is none: older versions wrote none.
    public init?(in folder: String) throws {
        let file = path(of: Self.fileName, in: folder)
        guard access(file, F_OK) == 0 else { return nil }
        events = try JSONFile.read(path: file)
    }

    /// The history of a run that goes on from a checkpoint (nil: from the beginning). What was changed after
    /// the checkpoint was made left no trace in its weights.
    init(resuming folder: String, from checkpoint: String?) throws {
        let saved = try checkpoint.flatMap { try RunHistory(in: $0) }
        self = try RunHistory(in: folder) ?? saved ?? RunHistory()
        let effective = (saved?.events ?? []).filter { $0.isUndone != true }
        for index in events.indices {
            guard let changes = events[index].changes else { continue }
            let isInCheckpoint = effective.contains {
                ($0.time, $0.step) == (events[index].time, events[index].step) && $0.changes == changes
            }
            events[index].isUndone = isInCheckpoint ? nil : true
        }
    }

    mutating func append(_ event: Event) { events.append(event) }

    func encoded() throws -> Data { try JSONFile.encode(events) }

    /// Whether it begins where the run does: a run that an older version began has no record of that.
    public var isWhole: Bool { events.first?.kind == .start }

    /// What made the newest steps.
    public var madeBy: Provenance? { events.last { $0.madeBy != nil }?.madeBy }

    /// Fingerprints of the data that was read last.
    public var data: [String: UInt32] { events.last { $0.data != nil }?.data ?? [:] }

    /// What changed between two steps of the run as it is now, a phrase for each time. Before the first step
    /// there is nothing that another setting could have made.
    public var changes: [String] {
        events.filter { $0.step > 0 && $0.isUndone != true }.compactMap { event in
            guard let changes = event.changes else { return nil }
            // Of another optimizer all settings are others.
            let isRenamed = changes.contains { $0.setting == "optimizer.name" }
            let shown = changes.filter {
                !isRenamed || !$0.setting.hasPrefix("optimizer.")
                    || ["optimizer.name", "optimizer.lr"].contains($0.setting)
            }
            return "after step \(event.step) "
                + shown.map { "\($0.setting) \($0.old) -> \($0.new)" }.joined(separator: ", ")
        }
    }
}
