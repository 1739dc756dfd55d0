import ArgumentParser
import Console
import Foundation
import Optimizers
import Ranks
import Settings
import TensorCore
import Training

struct ExchangeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exchange", abstract: "Times the exchange of gradients and weights beside MPI_Allreduce.",
        discussion: """
            To be started by mpirun, and built with the trait MPI. The gradients of the configuration's model are summed and \
            its weights handed on as a training step does, and the gradients are summed by MPI's own means, in turns. \
            Both leave on every rank what all ranks have made.

            Example:
              mpirun -n 4 .build/release/cosmos-benchmarks exchange --config configs/llama60m.cfg
            """)

    @Option(help: "The configuration file.")
    var config: String
    @Option(help: "Exchanges of each kind.")
    var rounds = 9

    func run() throws {
        guard let launcher = Launcher.current else {
            throw UserError(.usage, "there is one rank alone", hint: "start it with mpirun -n 4")
        }
        let ranks = try launcher.join()
        try ranks.introduce()
        let run = try RunConfiguration(file: config)
        let pool = run.makePool(sharers: ranks.sharers)
        let parameters = run.dryRun(pool: pool).model.parameters.map {
            Parameter(name: $0.name, shape: $0.shape, role: $0.role)
        }
        for parameter in parameters { parameter.gradient.elements.update(repeating: 1) }
        let ownership = Ownership(run.optimizer, parameters: parameters, ranks: ranks.count)
        let exchange = GradientExchange(parameters, ownership.pieces, ranks, pool: pool)
        var times: [[Double]] = [[], [], []]
        func time(_ kind: Int, _ body: () throws -> Void) throws {
            _ = try ranks.gather([])
            let start = StatusLine.now()
            try body()
            _ = try ranks.gather([])
            times[kind].append(StatusLine.now() - start)
        }
        for _ in 0..<rounds {
            try time(0) { try exchange.reduce() }
            try time(1) { try exchange.gather() }
            try time(2) { for parameter in parameters { ranks.sumByMPI(parameter.gradient.elements) } }
        }
        if ranks.isFirst {
            let medians = times.map { $0.sorted()[$0.count / 2] }
            let ratios = times[2].indices.map { times[2][$0] / (times[0][$0] + times[1][$0]) }.sorted()
            say(
                String(
                    format:
                        "%ld ranks, %@ of gradients: sum to the owners %.3f s, weights to all %.3f s, together %.3f s; "
                        + "MPI_Allreduce %.3f s, %.2f times as long",
                    ranks.count, Format.bytes(parameters.reduce(0) { $0 + $1.gradient.byteCount }), medians[0],
                    medians[1], medians[0] + medians[1], medians[2], ratios[ratios.count / 2]))
        }
        _ = ranks.leave()
    }
}
