import ArgumentParser
import Configuration
import Console
import Foundation
import Ranks
import Settings

/// A command that several ranks may run together; any other would only do the same thing several times.
protocol RunsOnRanks: ParsableCommand {}

/// This process among the ranks that were started with it.
enum RankSession {
    nonisolated(unsafe) private static var joined: Ranks?

    /// Refuses commands that are none for several ranks.
    static func check(_ command: any ParsableCommand) throws {
        guard let launcher = Launcher.current, !(command is any RunsOnRanks) else { return }
        let name = type(of: command).configuration.commandName ?? "this command"
        throw UserError(
            .usage, "`\(name)` was started on \(launcher.count) ranks, but only training runs on several",
            hint: "start it alone; a sweep is shared out by jobs, each of one run")
    }

    /// All ranks, this one among them; alone where nobody started others.
    static func join() throws -> Ranks {
        guard let launcher = Launcher.current else { return Ranks() }
        let ranks = try launcher.join()
        joined = ranks
        try ranks.introduce()
        return ranks
    }

    /// Ends this process. The first rank says why. Where the others do not come to their end, busy with something else,
    /// this one says why, and ends all.
    static func end(_ message: String?, _ status: Int32) -> Never {
        let speaks = Launcher.current.map { $0.rank == 0 } ?? true
        if speaks, let message { printToStandardError(message) }
        if let ranks = joined, !ranks.leave() {
            if !speaks, let message { printToStandardError("\(ranks.name(of: ranks.rank)): \(message)") }
            ranks.abort(status: status)
        }
        exit(status)
    }

    /// Ends all ranks, since one of them says nothing any more. Where several notice, the first of them speaks and the
    /// others leave it the time to end them, too.
    static func end(_ silence: SilentRank) -> Never {
        if let rank = joined?.rank, rank != (silence.rank == 0 ? 1 : 0) { sleep(2) }
        let name = joined?.name(of: silence.rank) ?? "rank \(silence.rank)"
        let error = UserError(
            .inputOutput,
            "\(name) has said nothing for \(Format.duration(silence.timeout)) (training.communication_timeout)",
            hint:
                "see whether its machine, its process and the network are well, or give it more time; then go on with --resume"
        )
        printToStandardError(error.description)
        joined?.abort(status: error.kind.rawValue)
        exit(error.kind.rawValue)
    }
}

extension Ranks {
    /// The first rank's configuration, for all: what it is read from may lie on its machine alone.
    func sharing(_ read: () throws -> RunConfiguration) throws -> RunConfiguration {
        let own = try together { try isFirst ? read() : nil }
        let text = try fromFirst(Array((own?.yaml ?? "").utf8))
        return try own
            ?? RunConfiguration(
                ConfigurationNode(yaml: String(decoding: text, as: UTF8.self), file: "the first rank's"))
    }
}
