import Foundation
import TestSupport
import Testing

#if MPI
    private let hasMPI = true
#else
    private let hasMPI = false
#endif

@Test(.disabled(if: hasMPI, "built with MPI")) func aProgramWithoutMPIRefusesToBeOneOfSeveral() throws {
    for rank in ["0", "1"] {
        let command = try run(
            program, ["nowhere.cfg"], environment: ["OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": rank])
        #expect(command.status == 64, "\(command)")
        let message = "2 ranks were started, but this program is built without MPI"
        #expect(rank == "0" ? command.errorOutput.contains(message) : command.errorOutput.isEmpty, "\(command)")
    }
}

/// Training under `mpirun`, as a user runs it, with more ranks than cores.
@Suite(.serialized, .enabled(if: hasMPI, "built without MPI: see scripts/build.sh --mpi")) struct RanksCommandTests {
    private static let environment = [
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_hwloc_base_binding_policy": "none",
        // Containers do not let processes read each other's memory.
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    ]

    private func prepare(_ folder: URL, steps: Int = 8) throws {
        try writeShard(learnableTokens(8_001, vocabulary: 32, seed: 1), to: folder.path + "/train.bin", endOfTextID: 1)
        try writeShard(learnableTokens(2_001, vocabulary: 32, seed: 2), to: folder.path + "/valid.bin", endOfTextID: 1)
        let text = """
            model: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 32,
                    max_position_embeddings: 32}
            data: {train: train.bin, validation: valid.bin, sequence_length: 32}
            optimizer: {name: soap, lr: 3.0e-3, precondition_frequency: 3}
            schedule: {name: constant, warmup: 0}
            training: {steps: \(steps), batch_size: 8, gradient_lanes: 4, threads: 1, communication_timeout: 2}
            evaluation: {every: 4, tokens: 2000}
            output: {run_dir: run, checkpoint_every: 5}
            """
        try Data(text.utf8).write(to: folder.appending(path: "run.cfg"))
    }

    private func mpirun(_ ranks: Int, _ arguments: [String], in folder: URL) throws -> FinishedCommand {
        try run("mpirun", ["-n", "\(ranks)", program] + arguments, environment: Self.environment, in: folder)
    }

    /// The ranks that mpirun has started on this machine, in order.
    private func ranks(of launcher: pid_t) throws -> [pid_t] {
        let threads = "/proc/\(launcher)/task"
        return try FileManager.default.contentsOfDirectory(atPath: threads).flatMap {
            try String(contentsOfFile: "\(threads)/\($0)/children", encoding: .utf8).split(separator: " ")
        }.compactMap { pid_t($0) }.sorted()
    }

    /// Starts a run on 2 ranks, waits for some steps, lets `body` disturb it, and says how it ended.
    private func disturb(
        steps: Int = 100_000, in folder: URL, _ body: (_ launcher: pid_t, _ ranks: [pid_t]) -> Void
    ) throws -> (status: Int32, seconds: Double, errors: String) {
        let errors = folder.appending(path: "errors")
        try Data().write(to: errors)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/perl")
        // A thread of the tests passes on its signal mask, which mpirun keeps.
        process.arguments =
            ["-MPOSIX", "-e", "sigprocmask(SIG_SETMASK, POSIX::SigSet->new); exec @ARGV"]
            + ["mpirun", "-n", "2", program, "run.cfg", "--resume", "auto", "--set", "training.steps=\(steps)"]
        process.currentDirectoryURL = folder
        process.environment = ProcessInfo.processInfo.environment.merging(Self.environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        defer { if process.isRunning { process.terminate() } }
        let log = folder.appending(path: "run/log.csv")
        for _ in 0..<6000 {
            if let text = try? String(contentsOf: log, encoding: .utf8), text.count(where: { $0 == "\n" }) > 12 {
                break
            }
            usleep(5000)
        }
        let started = Date.now
        let ranks = try ranks(of: process.processIdentifier)
        try #require(ranks.count == 2)
        body(process.processIdentifier, ranks)
        process.waitUntilExit()
        // None is left behind, but perhaps for init to collect.
        for rank in ranks {
            #expect((try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(rank)/exe")) == nil)
        }
        return (
            process.terminationStatus, Date.now.timeIntervalSince(started),
            try String(contentsOf: errors, encoding: .utf8)
        )
    }

    @Test func anyNumberOfRanksEndsInTheSameBits() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let alone = try run(program, ["run.cfg", "--set", "output.run_dir=one"], in: folder)
            #expect(alone.status == 0, "\(alone.errorOutput)")
            for ranks in [2, 4] {
                let command = try mpirun(ranks, ["run.cfg", "--set", "output.run_dir=\(ranks)"], in: folder)
                #expect(command.status == 0, "\(command.errorOutput)")
                #expect(try results("\(ranks)", in: folder) == results("one", in: folder))
                let said = try String(contentsOf: folder.appending(path: "\(ranks)/train.log"), encoding: .utf8)
                for rank in 0..<ranks { #expect(said.contains(try Regex("rank \(rank) +\\S+, \\d+ cores?, 1 thread"))) }
                let log = try String(contentsOf: folder.appending(path: "\(ranks)/log.csv"), encoding: .utf8)
                let seconds = try #require(
                    log.split(separator: "\n").last?.split(separator: ",").last.flatMap { Double($0) })
                #expect(seconds > 0)
            }
            // A checkpoint in the middle, resumed and forked by other numbers of ranks.
            for (number, name) in [(4, "2"), (2, "one")] {
                try FileManager.default.removeItem(at: folder.appending(path: "\(name)/checkpoints/step-00000008"))
                #expect(try mpirun(number, ["resume", name], in: folder).status == 0)
                #expect(try results(name, in: folder) == results("4", in: folder))
            }
            let fork = try mpirun(2, ["fork", "4@5", "--set", "output.run_dir=fork"], in: folder)
            #expect(fork.status == 0, "\(fork.errorOutput)")
            #expect(try results("fork", in: folder)[1] == results("4", in: folder)[1])
        }
    }

    @Test(arguments: [SIGUSR1, SIGTERM]) func aSignalToAnyRankStopsAllWithACheckpoint(signal: Int32) throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let end = try disturb(in: folder) { launcher, ranks in
                // mpirun hands this one on to all; the other goes to one rank.
                kill(signal == SIGUSR1 ? launcher : ranks[1], signal)
            }
            #expect(end.status == 75, "\(end)")
            let said = try String(contentsOf: folder.appending(path: "run/train.log"), encoding: .utf8)
            let match = try #require(said.firstMatch(of: /stopped after step (\d+); continue with --resume/))
            let steps = try #require(Int(match.1))
            let alone = try run(
                program, ["run.cfg", "--set", "output.run_dir=one", "--set", "training.steps=\(steps)"], in: folder)
            #expect(alone.status == 0, "\(alone.errorOutput)")
            // A validation ends the shorter one's log.
            #expect(try results("run", in: folder).dropFirst() == results("one", in: folder).dropFirst())
        }
    }

    @Test func aKilledRankEndsAllAndTheRunGoesOn() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 200)
            let end = try disturb(steps: 200, in: folder) { _, ranks in kill(ranks[1], SIGKILL) }
            #expect(end.status == 137 && end.seconds < 10, "\(end)")
            let rest = try mpirun(2, ["run.cfg", "--resume"], in: folder)
            #expect(rest.status == 0, "\(rest.errorOutput)")
            let alone = try run(program, ["run.cfg", "--set", "output.run_dir=one"], in: folder)
            #expect(alone.status == 0, "\(alone.errorOutput)")
            #expect(try results("run", in: folder) == results("one", in: folder))
        }
    }

    @Test(arguments: [0, 1]) func aRankThatStandsStillIsNamed(rank: Int) throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let end = try disturb(in: folder) { _, ranks in kill(ranks[rank], SIGSTOP) }
            #expect(end.status == 74 && end.seconds < 10, "\(end)")
            #expect(
                end.errors.contains(
                    try Regex(
                        "error: rank \(rank) on \\S+ has said nothing for 2.0 s \\(training.communication_timeout\\)")),
                "\(end)")
        }
    }

    /// What one rank alone meets: on the others it is the same program with the same arguments.
    @Test func anErrorOfOneRankEndsAllOnce() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            func fail(_ rank: Int, _ shell: String, _ status: Int32, _ message: String) throws {
                let wrapper = "if [ $OMPI_COMM_WORLD_RANK = \(rank) ]; then \(shell); fi; exec \"$0\" run.cfg \"$@\""
                let command = try run(
                    "mpirun", ["-n", "4", "sh", "-c", wrapper, program], environment: Self.environment, in: folder)
                #expect(command.status == status, "\(command.errorOutput)")
                #expect(command.errorOutput.components(separatedBy: "error: ").count == 2, "\(command.errorOutput)")
                #expect(command.errorOutput.contains(try Regex("error: " + message)), "\(command.errorOutput)")
            }
            try fail(2, "set -- --set data.train=nowhere.bin", 74, "rank 2 on \\S+: cannot open nowhere.bin")
            try fail(
                1, "set -- --set optimizer.lr=0.5", 64, "rank 1 on \\S+ has optimizer.lr 0.5, rank 0 on \\S+ has 0.003:"
            )
            try fail(3, "export OPENBLAS_CORETYPE=Prescott", 64, "rank 3 on \\S+ has OpenBLAS .*, rank 0 on \\S+ has ")
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))
            // The disk is full when the last checkpoint is written; the one before is whole.
            _ = try preload(
                """
                #include <stdio.h>
                #include <string.h>
                #include <unistd.h>
                int fsync(int descriptor) {
                    int (*original)(int) = dlsym(RTLD_NEXT, "fsync");
                    char link[40], path[4096] = "";
                    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
                    readlink(link, path, sizeof path - 1);
                    if (strstr(path, "step-00000008") == 0) return original(descriptor);
                    errno = ENOSPC;
                    return -1;
                }
                """, in: folder)
            try fail(0, "export LD_PRELOAD=$PWD/preload.so", 74, ".*: No space left on device")
            #expect(try mpirun(4, ["run.cfg", "--resume"], in: folder).status == 0)
            let alone = try run(program, ["run.cfg", "--set", "output.run_dir=one"], in: folder)
            #expect(alone.status == 0, "\(alone.errorOutput)")
            #expect(try results("run", in: folder) == results("one", in: folder))
        }
    }

    @Test func mistakesAreSaidOnce() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            func refused(_ ranks: Int, _ arguments: [String], _ status: Int32, _ message: String) throws {
                let command = try mpirun(ranks, arguments, in: folder)
                #expect(command.status == status, "\(command.errorOutput)")
                #expect(command.errorOutput.components(separatedBy: "error: ").count == 2, "\(command.errorOutput)")
                #expect(command.errorOutput.contains("error: " + message), "\(command.errorOutput)")
            }
            try refused(2, ["nowhere.cfg"], 74, "cannot open nowhere.cfg")
            try refused(2, ["run.cfg", "--steps"], 64, "unknown option")
            try refused(8, ["run.cfg"], 64, "8 ranks are no power of two that divides training.gradient_lanes, 4")
            try refused(3, ["run.cfg"], 64, "3 ranks were started: their number must be a power of two")
            try refused(2, ["eval", "run"], 64, "`eval` was started on 2 ranks, but only training runs on several")
            try refused(
                2, ["sweep", "run.cfg", "--vary", "optimizer.lr=1e-3,2e-3", "--out", "sweep"], 64,
                "`sweep` was started on 2 ranks")
            try refused(
                2, ["run.cfg", "--set", "optimizer={name: muon, lr: 3.0e+38}"],
                70, "step 1: ")
            // Started by another one's launcher, each would be rank 0 of 1.
            let other = try run(
                program, ["run.cfg"], environment: ["PMI_SIZE": "4", "PMI_RANK": "0"].merging(Self.environment) { $1 },
                in: folder)
            #expect(
                other.status == 64 && other.errorOutput.contains("the launcher promises 4 ranks, but MPI on "),
                "\(other)")
        }
    }
}
