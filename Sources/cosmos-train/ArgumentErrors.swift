import ArgumentParser
import Console
import Files
import Machine

extension CosmosTrain {
    static let version = "\(Provenance.programVersion) (commit \(sourceCommit))"

    /// A first word that is neither a command nor a file's name would be taken for the configuration of `train`.
    static func refuseUnknownCommand(_ arguments: [String]) throws {
        let commands = configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
        guard let word = arguments.first, !word.hasPrefix("-"), !commands.contains(word), !word.isEmpty,
            !word.contains(where: { "./".contains($0) }), !RegularFile.exists(word)
        else { return }
        throw UserError(
            .usage, "unknown command `\(word)`",
            hint: closestMatch(to: word, in: commands).map { "did you mean `\($0)`?" }
                ?? "the commands are " + commands.joined(separator: ", "))
    }

    /// What the argument parser throws, in the form of all our errors; nil where it only asks for a page of
    /// help or an exit code.
    static func userError(_ error: any Error) -> UserError? {
        guard exitCode(for: error) == .validationFailure else { return nil }
        if let option = unknownOption(in: Array(CommandLine.arguments.dropFirst())) { return option }
        // Its text: "Error: ...", perhaps "Help:  --option <value>  ...", the usage, "See 'COMMAND --help' ...".
        let (message, text) = (message(for: error), fullMessage(for: error))
        let command = text.firstMatch(of: /See '([^']*)'/).map { String($0.1) } ?? "cosmos-train --help"
        let about = text.firstMatch(of: /\nHelp: +([^\n]*)/).map { $0.1.replacing(/\ {2,}/, with: ": ") }
        var (problem, hint) = (message, "`\(command)` tells more")
        if let guess = message.firstMatch(of: /\.? (Please provide .*)$/) {
            problem = String(message[..<guess.range.lowerBound])
            hint = guess.1.prefix(1).lowercased() + guess.1.dropFirst()
        } else if let about {
            hint = about.replacing(/\.$/, with: "") + "; " + hint
        }
        return UserError(.usage, problem.prefix(1).lowercased() + problem.dropFirst(), hint: hint)
    }

    /// The parser tells an unknown option as the lack of the right one, if that must be given, or its value as one too many.
    private static func unknownOption(in arguments: [String]) -> UserError? {
        let command: any ParsableCommand.Type =
            configuration.subcommands.first { $0.configuration.commandName == arguments.first } ?? TrainCommand.self
        let known = helpMessage(for: command).matches(of: /--[a-z0-9-]+/).map { String($0.output) }
        for (before, word) in zip([""] + arguments, arguments) where word.hasPrefix("--") && word != "--" {
            let name = String(word.prefix { $0 != "=" })
            let near = closestMatch(to: name, in: known)
            // After an option, it may be its value.
            guard !known.contains(name), near != nil || !before.hasPrefix("-") else { continue }
            return UserError(
                .usage, "unknown option '\(name)'",
                hint: near.map { "did you mean `\($0)`?" }
                    ?? "`cosmos-train \(command.configuration.commandName ?? "") --help` tells more")
        }
        return nil
    }
}
