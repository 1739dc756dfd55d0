import Console
import ArgumentParser
import Comparison
import Settings
import TensorCore
import Training

struct SweepCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sweep", abstract: "Train every combination of settings and seeds.",
        discussion: """
            Each run gets a folder in --out, named by its values. A failed or diverged run is recorded and does not \
            stop the rest. Ctrl-C stops all runs with a checkpoint (exit code 75); the same command goes on: finished \
            and diverged runs are kept, stopped ones resumed, failed ones tried again. To make a run anew, remove its \
            folder. summary.csv in --out says how far each run is.

            --set gives all runs a value. Folders are named by the optimizer and by what varies; another grid may be added in \
            the same --out. Where optimizers are compared, the optimizer section of the \
            configuration file counts for none of them, its own included: each has its defaults and the values of the \
            grid. Grids of their own for each optimizer are given in a file:
              adamw:
                optimizer.lr: [1.0e-3, 2.0e-3, 4.0e-3]
              cosmos:
                optimizer.lr: [5.0e-4, 1.0e-3]
                optimizer.rank: [64, 128]

            Examples:
              scripts/sweep.sh --config configs/quickstart.cfg --vary optimizer.name=adamw,cosmos \
            --vary optimizer.lr=1e-3,2e-3 --seeds 3 --out runs/sweep1
              scripts/sweep.sh --config configs/quickstart.cfg --file configs/sweeps/quickstart.yaml --seeds 3 --out runs/sweep2 --jobs 2
              cosmos-train compare runs/sweep1 --report runs/sweep1/report.html
            """)

    @OptionGroup var given: ConfigurationOption
    @OptionGroup var changes: AssignmentOptions

    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "Values to try for one setting; all combinations are made. May be given many times.",
            valueName: "section.key=a,b,c"))
    var vary: [String] = []

    @Option(help: ArgumentHelp("A grid for each optimizer (see above).", valueName: "file"))
    var file: String?

    @Option(
        parsing: .unconditional, help: "Seeds 1 ... n, each for weights (training.seed) and data order (data.seed).")
    var seeds: Int?

    @Option(help: ArgumentHelp("The folder of the sweep.", valueName: "folder"))
    var out: String

    @Option(parsing: .unconditional, help: "Runs at a time.")
    var jobs = 1

    @Option(
        parsing: .unconditional,
        help: "Worker threads of a run (default: its share of the cores; of a single job, as the configuration says).")
    var threads: Int?

    @Option(
        help: ArgumentHelp(
            "Make only every n-th run, from the k-th on: the share of one of n machines. They may share --out; else copy "
                + "their folders into one, where the same command without --shard finds all runs finished.",
            valueName: "k/n"))
    var shard: String?

    private var shardNumbers: (index: Int, count: Int)? {
        guard let shard else { return (1, 1) }
        let parts = shard.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        return parts.count == 2 && parts[0] >= 1 && parts[0] <= parts[1] ? (parts[0], parts[1]) : nil
    }

    @Flag(help: "Check everything and list the runs with the memory and time that they will take, but make none.")
    var dryRun = false

    @Flag(inversion: .prefixedNo, help: "With --dry-run: measure how fast this machine is.")
    var probe = true

    func validate() throws {
        if shardNumbers == nil {
            throw ValidationError("--shard \(shard ?? ""): not of the form 2/4, the second of four")
        }
        try check("--seeds", seeds, 1...1000)
        if !(1...availableCoreCount).contains(jobs) {
            throw ValidationError("--jobs \(jobs): must be from 1 to the number of cores, \(availableCoreCount)")
        }
        if let threads, !(1...availableCoreCount / jobs).contains(threads) {
            throw ValidationError(
                "--threads \(threads): must be from 1 to \(availableCoreCount / jobs): there are \(availableCoreCount) "
                    + "cores\(jobs > 1 ? " for \(jobs) jobs" : "")")
        }
    }

    func run() throws {
        let plan = try SweepPlan(
            base: given.file, assignments: changes.assignments, vary: vary, gridFile: file, seeds: seeds,
            folder: out,
            threads: threads ?? (jobs > 1 ? availableCoreCount / jobs : nil),
            shard: shardNumbers ?? (1, 1))
        if dryRun { return try printResult(PlanText.sweep(plan, jobs: jobs, probe: probe)) }
        if plan.leavesOptimizerOut {
            printToStandardError(
                "note: optimizers are compared, so the optimizer section of \(given.file) counts for none of them: each has "
                    + "its defaults where the grid gives no value")
        }
        Interruption.stopInGoodOrder()
        let sweep = try Sweep(plan, jobsAtOnce: jobs, cancellation: Interruption.flag)
        guard try sweep.run() else {
            printToStandardError("stopped; the same command goes on")
            throw ExitCode(75)
        }
        printToStandardError("compare with: cosmos-train compare \(plan.folder) --report \(plan.folder)/report.html")
    }
}
