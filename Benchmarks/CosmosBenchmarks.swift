import ArgumentParser

@main
struct CosmosBenchmarks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cosmos-benchmarks", abstract: "Measures what training steps are made of.",
        subcommands: [KernelsCommand.self, ScalingCommand.self, ExchangeCommand.self],
        defaultSubcommand: KernelsCommand.self)
}
