import Console
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
        /// The run whose checkpoint this one began with. Before it has made anything, it stands in an event that no
        /// program has made steps after (`madeBy` is nil).
        public var forkOf: String?
        /// Whether the run later went on from a checkpoint that knows nothing of the changes.
        public var isUndone: Bool?

        public init(
            _ kind: Kind, step: Int, madeBy: Provenance? = nil, data: [String: UInt32]? = nil, changes: [Change] = [],
            forkOf: String? = nil
        ) {
            self.kind = kind
            self.step = step
            self.madeBy = madeBy
            self.data = data
            time = Date.now.ISO8601Format()
            self.changes = changes.isEmpty ? nil : changes
            self.forkOf = forkOf
        }

        /// Whether it is the same event, undone or not.
        fileprivate func isSame(as other: Event) -> Bool {
            var other = other
            other.isUndone = isUndone
            return self == other
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

    /// The history of the run in a folder that stands at a checkpoint (nil: at its beginning): what the checkpoint's
    /// copy says, for that was there when its weights were made, and then what the folder's file alone says. Where
    /// that file is damaged, `warn` is told.
    ///
    /// `resuming`: the run goes on from the checkpoint. What was changed after it left no trace in its weights.
    public init(
        of folder: String, at checkpoint: String?, resuming: Bool = false, warn: (String) -> Void
    ) throws {
        let saved = try checkpoint.flatMap { try RunHistory(in: $0) }?.events ?? []
        var present: [Event] = []
        do { present = try RunHistory(in: folder)?.events ?? [] } catch let error as UserError {
            warn(
                error.message
                    + (saved.isEmpty ? "; what was before is not known" : "; its copy in the checkpoint is taken"))
        }
        let later = present.filter { event in !saved.contains { $0.isSame(as: event) } }
        events =
            saved
            + later.map { event in
                var event = event
                if resuming, event.changes != nil { event.isUndone = true }
                return event
            }
    }

    mutating func append(_ event: Event) { events.append(event) }

    /// The run that this one is a fork of, as long as it has not begun.
    public var unbegunForkOf: String? { events.last.flatMap { $0.madeBy == nil ? $0.forkOf : nil } }

    /// The fork begins: what it began with is then told by the event that says what made its steps.
    mutating func beginFork() -> String? {
        let origin = unbegunForkOf
        if origin != nil { events.removeLast() }
        return origin
    }

    func encoded() throws -> Data { try JSONFile.encode(events) }

    func write(in folder: String) throws {
        try AtomicFile.write(encoded(), to: path(of: Self.fileName, in: folder))
    }

    /// Whether it begins where the run does: a run that an older version began has no record of that.
    public var isWhole: Bool { events.first?.kind == .start }

    /// What made the newest steps.
    public var madeBy: Provenance? { events.last { $0.madeBy != nil }?.madeBy }

    /// When programs worked at the run, from start to end, in ISO 8601. The end of one that was killed is not known: not in.
    public var periods: [(host: String, start: String, end: String)] {
        zip(events, events.dropFirst()).compactMap { first, next in
            first.madeBy.flatMap {
                [.stop, .finish, .failure].contains(next.kind) ? ($0.host, first.time, next.time) : nil
            }
        }
    }

    /// Fingerprints of the data that was read last.
    public var data: [String: UInt32] { events.last { $0.data != nil }?.data ?? [:] }

    /// What changed between two steps of the run as it is now, a phrase for each time. Before the first step
    /// there is nothing that another setting could have made.
    public var changes: [String] {
        events.filter { $0.step > 0 && $0.isUndone != true }.compactMap { event in
            guard let changes = event.changes else { return nil }
            // With another optimizer every setting is another.
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
