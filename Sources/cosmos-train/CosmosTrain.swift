import ArgumentParser
import Configuration
import Foundation
import TensorCore

@main
struct CosmosTrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cosmos-train", abstract: "Pretrain LLaMA on CPUs and compare optimizers.",
        subcommands: [TokenizerCommand.self, TokenizeCommand.self])

    /// A user's mistake is printed once, and its kind is the exit code.
    static func main() {
        // Threads that start later inherit this.
        flushDenormalsToZero()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as UserError {
            printToStandardError(error.description)
            Foundation.exit(error.kind.rawValue)
        } catch {
            exit(withError: error)
        }
    }
}
