import ArgumentParser
import Console
import Foundation
import Ranks
import TensorCore
import Training

@main
struct CosmosTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cosmos-train", abstract: "Pretrain LLaMA on CPUs and compare optimizers.",
        version: version,
        subcommands: [
            TrainCommand.self, ResumeCommand.self, ForkCommand.self, PlanCommand.self, EvalCommand.self,
            GenerateCommand.self, SweepCommand.self,
            WatchCommand.self, CompareCommand.self, PlotCommand.self,
            ExportCommand.self, LogitsCommand.self,
            TokenizerCommand.self, TokenizeCommand.self, OptimizersCommand.self, DoctorCommand.self,
        ],
        defaultSubcommand: TrainCommand.self)

    /// A user's mistake is printed once, and its kind is the exit code.
    static func main() {
        // A file beyond `ulimit -f` is then an error of the write, which is reported, not a silent death.
        signal(SIGXFSZ, SIG_IGN)
        openClosedStandardStreams()
        raiseFileLimit()
        Interruption.install()
        do {
            try refuseForeignCPU()
            try refuseUnknownCommand(Array(CommandLine.arguments.dropFirst()))
            var command = try parseAsRoot()
            try RankSession.check(command)
            try command.run()
            RankSession.end(nil, 0)
        } catch let error as UserError {
            RankSession.end(error.description, error.kind.rawValue)
        } catch let failure as RunFailure {
            RankSession.end(failure.description, 70)
        } catch let silence as SilentRank {
            RankSession.end(silence)
        } catch {
            if let error = userError(error) { RankSession.end(error.description, error.kind.rawValue) }
            if let code = error as? ExitCode { RankSession.end(nil, code.rawValue) }
            exit(withError: error)
        }
    }
}

/// Opens /dev/null where a standard stream is closed: the next file opened would take its number, and
/// messages would be written into it.
private func openClosedStandardStreams() {
    while true {
        let descriptor = open("/dev/null", O_RDWR)
        if descriptor < 0 { return }
        if descriptor > STDERR_FILENO {
            close(descriptor)
            return
        }
    }
}

/// A data set keeps all its shards open: more than the 1024 files that a shell's programs may usually have.
private func raiseFileLimit() {
    var limit = rlimit()
    guard getrlimit(.init(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(.init(RLIMIT_NOFILE.rawValue), &limit)
}

/// A binary built for another CPU would die of an illegal instruction somewhere in the middle.
private func refuseForeignCPU() throws {
    let missing = CPUFeature.all.filter { $0.isRequired && !$0.isPresent }.map(\.name)
    guard missing.isEmpty else {
        throw UserError(
            .usage, "this program was built for a CPU with \(missing.joined(separator: ", ")), which this one lacks",
            hint: "build it on this machine with scripts/build.sh")
    }
}
