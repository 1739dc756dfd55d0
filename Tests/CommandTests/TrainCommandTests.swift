import Foundation
import TestSupport
import Testing

/// `cosmos-train --config` and `cosmos-train eval` as a user runs them.
@Suite struct TrainCommandTests {
    @Test func trainsAndTellsWhatItDid() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let command = try train(in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            for text in [
                "adamw takes 14 matrices", "OpenBLAS for ",
            ] {
                #expect(command.errorOutput.contains(text), "\(command.errorOutput) lacks \(text)")
            }
            // What others read on: `| tee`.
            for text in [
                "step 10   train loss ", "perplexity ", "trained          40 steps", "run/checkpoints/step-00000040",
                "run/log.csv",
            ] {
                #expect(command.output.contains(text), "\(command.output) lacks \(text)")
            }
            let log = try String(contentsOf: folder.appending(path: "run/train.log"), encoding: .utf8)
            #expect(log.contains("Z  step 40   train loss "))
        }
    }

    @Test func evaluatesARunOrACheckpoint() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            #expect(try train(in: folder).status == 0)
            let log = try String(contentsOf: folder.appending(path: "run/log.csv"), encoding: .utf8)
            let lastRow = try #require(log.split(separator: "\n").last).split(separator: ",")
            // All 62 windows of 32 tokens are below the 2000 that were asked for.
            for model in ["run", "run/", "run/checkpoints/latest", "run/checkpoints/step-00000040"] {
                let command = try run(program, ["eval", model, "--threads", "1"], in: folder)
                #expect(command.status == 0, "\(command.errorOutput)")
                #expect(command.output.contains("\nloss             \(lastRow[3])\n"), "\(command.output)")
                #expect(command.output.contains("\nperplexity       \(lastRow[4])\n"))
                #expect(command.output.contains("\ntokens           1,984\n"))
                #expect(command.output.contains("\nunigram entropy  3."))
            }
            let missing = try run(program, ["eval", "nowhere"], in: folder)
            #expect(missing.status == 64)
            #expect(missing.errorOutput.hasPrefix("error: nowhere holds no model"))
        }
    }

    @Test func killedAtAnyMomentAndResumedItEndsInTheSameBits() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 60)
            #expect(try train("--set", "output.run_dir=straight", in: folder).status == 0)
            var purpose = "--replace"
            for rows in [1, 9, 20, 22, 41] {
                let end = try start(["run.cfg", "--set", "output.run_dir=killed", purpose], in: folder) { process in
                    waitForRows(rows, of: "killed", in: folder)
                    usleep(UInt32.random(in: 0..<4000))
                    kill(process.processIdentifier, SIGKILL)
                }
                purpose = "--resume"
                if end.reason != .uncaughtSignal { break }
            }
            let command = try train("--set", "output.run_dir=killed", "--resume", in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(try results("killed", in: folder) == results("straight", in: folder))
        }
    }

    /// One step of some seconds, which the signal interrupts.
    @Test(arguments: [SIGTERM, SIGINT]) func aSignalStopsALongStepSoonAndNothingIsLost(signal: Int32) throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 3, batchSize: 20_000)
            var signalled = Date.distantFuture
            let end = try start(["run.cfg"], in: folder) { process in
                waitForRows(0, of: "run", in: folder)
                usleep(300_000)
                signalled = Date.now
                kill(process.processIdentifier, signal)
            }
            #expect(Date.now.timeIntervalSince(signalled) < 3)
            #expect(end.status == 75 && end.reason == .exit)
            let log = try String(contentsOf: folder.appending(path: "run/train.log"), encoding: .utf8)
            #expect(log.contains("stopped after step 0; continue with --resume"), "\(log)")
            #expect(
                FileManager.default.fileExists(atPath: folder.path + "/run/checkpoints/step-00000000/MANIFEST.json"))
        }
    }

    /// A process stands between opening the lock and taking it while another one sets the folder aside.
    @Test func aLockOfAFolderThatWasSetAsideIsNoLock() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 3)
            #expect(try train(in: folder).status == 0)
            let environment = try preload(
                """
                #include <fcntl.h>
                #include <unistd.h>
                int flock(int descriptor, int operation) {
                    int (*original)(int, int) = dlsym(RTLD_NEXT, "flock");
                    close(open("waiting", O_CREAT | O_WRONLY, 0600));
                    for (int i = 0; i < 60000 && access("go", F_OK) != 0; i++) usleep(5000);
                    return original(descriptor, operation);
                }
                """, in: folder)
            let late = Process()
            late.executableURL = URL(filePath: program)
            late.arguments = ["--config", "run.cfg", "--resume"]
            late.currentDirectoryURL = folder
            late.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            let errors = folder.appending(path: "errors")
            try Data().write(to: errors)
            late.standardError = try FileHandle(forWritingTo: errors)
            try late.run()
            for _ in 0..<6000 where access(folder.path + "/waiting", F_OK) != 0 { usleep(5000) }
            // It holds the lock when it says what it is about to do.
            let end = try start(["run.cfg", "--replace", "--set", "training.steps=100000"], in: folder) { process in
                for _ in 0..<60000
                where access(folder.path + "/run/train.log", F_OK) != 0 || access(folder.path + "/run.old-1", F_OK) != 0
                { usleep(5000) }
                try Data().write(to: folder.appending(path: "go"))
                late.waitUntilExit()
                kill(process.processIdentifier, SIGTERM)
            }
            let said = try String(contentsOf: errors, encoding: .utf8)
            #expect(late.terminationStatus == 64 && said.contains(" is training in run\n"), "\(said)")
            #expect(end.status == 75)
        }
    }

    /// A process stands between making the folder and opening its lock while another one sets the folder aside.
    @Test func aFolderThatIsSetAsideBeforeItIsLockedIsMadeAgain() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 3)
            let environment = try preload(
                """
                #include <stdarg.h>
                #include <stdio.h>
                #include <string.h>
                #include <unistd.h>
                int open(const char *path, int flags, ...) {
                    int (*original)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
                    va_list arguments;
                    va_start(arguments, flags);
                    int mode = va_arg(arguments, int);
                    va_end(arguments);
                    if (strcmp(path, "run/.lock") == 0 && access("run.old-1", F_OK) != 0) rename("run", "run.old-1");
                    return original(path, flags, mode);
                }
                int open64(const char *, int, ...) __attribute__((alias("open")));
                """, in: folder)
            let command = try run(program, ["--config", "run.cfg"], environment: environment, in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            let isThere = ["run/log.csv", "run.old-1"].map { access(folder.path + "/" + $0, F_OK) == 0 }
            #expect(isThere == [true, true])
        }
    }

    @Test func mistakesAreToldOnceWithACodeAndAHint() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            try Data("no shard".utf8).write(to: folder.appending(path: "bad.bin"))
            for (arguments, status, message) in [
                (
                    ["--set", "optimizer.lrr=1"], 64,
                    "error: --set optimizer.lrr: unknown key `optimizer.lrr`\nhint: did you mean `lr`?"
                ),
                (["--set", "training.steps=0"], 64, "error: --set training.steps: training.steps: 0 must be from 1"),
                (["--set", "training.steps"], 64, "error: --set training.steps: not of the form section.key=value"),
                (
                    ["--set", "model.hidden_size=33"], 64,
                    "error: --set model.hidden_size: model.hidden_size: 33 is not divisible"
                ),
                (["--set", "data.train=bad.bin"], 65, "error: bad.bin"),
                (["--set", "data.train=none.bin"], 74, "error: cannot open none.bin: No such file or directory"),
                (["--set", "data.tokenizer=bad.bin"], 65, "error: bad.bin"),
                (["--set", "model.vocab_size=16"], 65, "error: train.bin: token "),
                (["--set", "output.run_dir=/proc/run"], 74, "error: cannot create the folder /proc/run"),
                (["--resume"], 64, "error: there is no run to resume in run"),
                (["--resume", "--replace"], 64, "error: --resume continues a run, --replace begins anew"),
                (["--step", "3"], 64, "error: --step goes with --resume"),
                (["--reset-optimizer"], 64, "error: --reset-optimizer goes with --resume"),
            ] {
                let command = try run(program, ["--config", "run.cfg"] + arguments, in: folder)
                #expect(Int(command.status) == status, "\(arguments): \(command.errorOutput)")
                #expect(command.errorOutput.hasPrefix(message), "\(arguments): \(command.errorOutput)")
                #expect(command.output == "")
            }
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))

            let missing = try run(program, ["--config", "none.cfg"], in: folder)
            #expect(missing.status == 74 && missing.errorOutput.hasPrefix("error: cannot open none.cfg: No such file"))
            let quickstart = repositoryRoot.appending(path: "configs/quickstart.cfg").path
            #expect(
                try run(program, [quickstart], in: folder).errorOutput.hasSuffix(
                    "\nhint: scripts/quickstart.sh makes it\n"))
            #expect(try train("--set", "training.steps=2", in: folder).status == 0)
            let existing = try train(in: folder)
            #expect(existing.status == 64 && existing.errorOutput.hasPrefix("error: run already holds a run\nhint: "))
            let failure = try train(
                "--replace", "--set", "optimizer.lr=1.0e+38", "--set", "schedule.name=constant", in: folder)
            #expect(failure.status == 70, "\(failure.errorOutput)")
            #expect(
                failure.errorOutput.contains("\nerror: step ") && failure.errorOutput.contains("is not finite\nhint: "))
        }
    }

    @Test func kernelsForAnOlderCPUAreNamedInTheLog() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 2)
            let command = try run(
                program, ["--config", "run.cfg"], environment: ["OPENBLAS_CORETYPE": "Prescott"], in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            let log = try String(contentsOf: folder.appending(path: "run/train.log"), encoding: .utf8)
            #expect(
                log.contains(
                    "note: OpenBLAS for Prescott (SSE), forced by OPENBLAS_CORETYPE=Prescott, but the CPU has"),
                "\(log)")
        }
    }

    @Test func theSubcommandMayBeNamedOrLeftOut() throws {
        let help = try run(program, ["--help"])
        #expect(help.status == 0 && help.output.contains("train (default)"))
        #expect(try run(program, ["train", "--help"]).output.contains("--config <file>"))
        let none = try run(program, [])
        #expect(none.status == 64 && none.errorOutput.contains("no configuration file is given"))
    }
}
