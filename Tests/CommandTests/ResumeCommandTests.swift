import Files
import Foundation
import TestSupport
import Testing

/// `cosmos-train resume`, `fork` and `--resume`: what a run goes on from, whatever became of its files.
@Suite struct ResumeCommandTests {
    @Test func aCheckpointThatCannotBeReadIsPassedOver() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            #expect(try train(in: folder).status == 0)
            let environment = try preload(
                """
                #include <stdarg.h>
                #include <string.h>
                int open(const char *path, int flags, ...) {
                    int (*original)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
                    va_list arguments;
                    va_start(arguments, flags);
                    int mode = va_arg(arguments, int);
                    va_end(arguments);
                    if (strstr(path, "step-00000040/optimizer.safetensors")) return errno = EACCES, -1;
                    return original(path, flags, mode);
                }
                int open64(const char *, int, ...) __attribute__((alias("open")));
                """, in: folder)
            let command = try run(program, ["--config", "run.cfg", "--resume"], environment: environment, in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(
                command.errorOutput.contains(
                    "warning: cannot open run/checkpoints/step-00000040/optimizer.safetensors: Permission denied; "
                        + "trying the one before"), "\(command.errorOutput)")
            #expect(command.errorOutput.contains("resumed after step 35"))
        }
    }

    @Test func aRunIsContinuedByItsFolderOrBegunByTheSameCommand() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 12)
            #expect(try train("--set", "output.run_dir=straight", in: folder).status == 0)
            let begun = try train("--resume", "auto", in: folder)
            #expect(begun.status == 0, "\(begun.errorOutput)")
            #expect(try results("run", in: folder) == results("straight", in: folder))
            let again = try train("--resume", "auto", in: folder)
            #expect(again.status == 0 && again.errorOutput.contains("`cosmos-train fork run --set training.steps=...`"))
            let resumed = try run(program, ["resume", "run/", "--step", "7"], in: folder)
            #expect(
                resumed.status == 0 && resumed.errorOutput.contains("resumed after step 7"), "\(resumed.errorOutput)")
            #expect(try results("run", in: folder) == results("straight", in: folder))
            let none = try run(program, ["resume", "nowhere"], in: folder)
            #expect(none.status == 64 && none.errorOutput.hasPrefix("error: there is no run to resume in nowhere"))
        }
    }

    @Test func settingsThatAreLostOrDamagedAreTakenFromTheCheckpoint() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 12)
            #expect(try train("--set", "output.run_dir=straight", in: folder).status == 0)
            #expect(try train(in: folder).status == 0)
            let file = folder.appending(path: "run/config.resolved.cfg")
            let copy = "the settings are taken from run/checkpoints/step-00000012/run.cfg\n"
            for text in [nil, "model: {", "model: {no_such_key: 1}\n"] {
                if let text {
                    try Data(text.utf8).write(to: file)
                } else {
                    try FileManager.default.removeItem(at: file)
                }
                let evaluation = try run(program, ["eval", "run"], in: folder)
                #expect(evaluation.status == 0 && evaluation.output.contains(/data +validation\.bin/))
                let fork = try run(
                    program,
                    ["fork", "run", "--set", "training.steps=13", "--set", "output.run_dir=fork-\(text?.count ?? 0)"],
                    in: folder)
                #expect(fork.status == 0, "\(fork.errorOutput)")
                let resumed = try run(program, ["resume", "run"], in: folder)
                #expect(resumed.status == 0)
                #expect((evaluation.errorOutput == "") == (text == nil))
                for said in [fork.errorOutput, resumed.errorOutput] + (text == nil ? [] : [evaluation.errorOutput]) {
                    #expect(said.contains("run/config.resolved.cfg") && said.contains(copy), "\(said)")
                }
                #expect(try String(contentsOf: file, encoding: .utf8).contains("sequence_length: 32"))
                #expect(try run(program, ["eval", "run"], in: folder).errorOutput == "")
            }
            try FileManager.default.removeItem(at: file)
            let resumed = try run(program, ["resume", "run", "--step", "7"], in: folder)
            #expect(resumed.errorOutput.contains("from run/checkpoints/step-00000007/run.cfg"))
            #expect(resumed.status == 0, "\(resumed.errorOutput)")
            #expect(try results("run", in: folder) == results("straight", in: folder))
            // Without the copy, too, nothing is left but what the user says.
            try Data("model: {".utf8).write(to: file)
            try Data("model: {".utf8).write(to: folder.appending(path: "run/checkpoints/step-00000012/run.cfg"))
            try FileManager.default.removeItem(
                at: folder.appending(path: "run/checkpoints/step-00000012/MANIFEST.json"))
            try FileManager.default.copyItem(
                at: folder.appending(path: "run/checkpoints/step-00000012"), to: folder.appending(path: "model"))
            let without = try run(program, ["eval", "model"], in: folder)
            #expect(
                without.status == 64
                    && without.errorOutput.hasSuffix("hint: mend the file, or name the data with --data\n"),
                "\(without.errorOutput)")
            #expect(try run(program, ["eval", "model", "--data", "validation.bin"], in: folder).status == 0)
        }
    }

    /// The folder's copy of what happened to a run may be lost; the checkpoint's is not.
    @Test func aChangedRunHasNoRankWhateverBecomesOfItsHistory() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 12)
            #expect(try train(in: folder).status == 0)
            #expect(try train("--set", "output.run_dir=pure", "--set", "data.seed=2", in: folder).status == 0)
            let changed = try train(
                "--resume", "--step", "7", "--reset-optimizer", "--set", "optimizer.lr=2.0e-2", in: folder)
            #expect(changed.status == 0, "\(changed.errorOutput)")
            for text in ["[]", "[{", nil] {
                let file = folder.appending(path: "run/history.json")
                if let text {
                    try Data(text.utf8).write(to: file)
                } else {
                    try FileManager.default.removeItem(at: file)
                }
                let comparison = try run(program, ["compare", "run", "pure"], in: folder)
                let words = comparison.output.replacing(/\s+/, with: " ")
                #expect(comparison.status == 0, "\(comparison.errorOutput)")
                #expect(
                    words.contains("run gets no rank, for it is not of one setting: after step 7 optimizer.lr"),
                    "\(words)")
                #expect(comparison.errorOutput.contains("warning: run/history.json: ") == (text == "[{"))
            }
        }
    }

    /// Two forks that begin at once choose the same name: the second one finds a run there when its own is complete.
    @Test func aForkReplacesNoRun() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 10)
            #expect(try train(in: folder).status == 0)
            let environment = try preload(
                """
                #include <fcntl.h>
                #include <string.h>
                #include <sys/stat.h>
                #include <unistd.h>
                int rename(const char *from, const char *to) {
                    int (*original)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
                    if (strcmp(to, "run-fork-1") == 0 || strcmp(from, "run-fork-1") == 0) {
                        mkdir("run-fork-1", 0700);
                        close(open("run-fork-1/other", O_CREAT | O_WRONLY, 0600));
                    }
                    return original(from, to);
                }
                """, in: folder)
            let fork = try run(
                program, ["fork", "run", "--set", "training.steps=12"], environment: environment, in: folder)
            #expect(fork.status == 74 && fork.errorOutput.contains("already there"), "\(fork.errorOutput)")
            let files = FileManager.default
            #expect(try files.contentsOfDirectory(atPath: folder.path + "/run-fork-1") == ["other"])
            #expect(try !files.contentsOfDirectory(atPath: folder.path).contains { $0.hasPrefix(".run-fork-1") })
        }
    }

    @Test func aForkBeginsWithTheStateOfAnotherRunAndTellsWhatChanged() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, steps: 20)
            // The fork keeps the warm-up of 2 steps that was made: a tenth of its 30 steps would be another one.
            let wsd = ["--config", "run.cfg", "--set", "schedule={name: wsd, warmup: 10%, decay: 5}"]
            #expect(try run(program, wsd, in: folder).status == 0)
            let finished = try run(program, ["resume", "run"], in: folder)
            #expect(finished.errorOutput.contains("`cosmos-train fork run@15 --set training.steps=...`"))
            let before = try results("run", in: folder)
            let long = ["training.steps=30", "schedule.warmup=2", "output.run_dir=long"].flatMap { ["--set", $0] }
            #expect(try run(program, wsd + long, in: folder).status == 0)
            let fork = try run(program, ["fork", "run@15", "--set", "training.steps=30"], in: folder)
            #expect(
                fork.status == 0 && fork.errorOutput.contains("a fork of run@15 after step 15"), "\(fork.errorOutput)")
            // Before the decay a longer run is the same.
            #expect(try results("run-fork-1", in: folder).dropFirst() == results("long", in: folder).dropFirst())
            #expect(!fork.errorOutput.contains("no rank"))

            let other = try run(
                program, ["fork", "run@15", "--set", "optimizer.lr=5.0e-3", "--set", "training.batch_size=16"],
                in: folder)
            #expect(other.status == 0, "\(other.errorOutput)")
            #expect(other.errorOutput.contains("optimizer.lr 0.01 -> 0.005"), "\(other.errorOutput)")
            #expect(other.errorOutput.contains("training.batch_size 8 -> 16") && other.errorOutput.contains("no rank"))
            #expect(try results("run", in: folder) == before)
            // It is a run of its own, and what changed in it changed in its forks, too.
            func identity(_ checkpoint: String) throws -> String? {
                let state = try Data(contentsOf: folder.appending(path: "\(checkpoint)/trainer.json"))
                return try JSONValue(json: [UInt8](state)).run.id.string
            }
            let ids = try ["run", "run-fork-1", "run-fork-2"].map { try identity("\($0)/checkpoints/latest") }
            #expect(Set(ids).count == 3 && !ids.contains(nil))
            let third = try run(
                program, ["fork", "run-fork-2", "--set", "training.steps=25", "--set", "output.run_dir=third"],
                in: folder)
            #expect(third.status == 0, "\(third.errorOutput)")
            #expect(third.errorOutput.contains("note: after step 15 optimizer.lr 0.01 -> 0.005"))

            for (arguments, message) in [
                (["run"], "error: the checkpoint of step 20 is the last of a run of 20 steps"),
                (["run@16"], "error: there is no checkpoint of step 16"),
                (["run@99999999999999999999"], "error: there is no checkpoint of step "),
                (["run@15", "--set", "model.rope_theta=5.0"], "error: the run in run-fork-3 can't be resumed"),
                (["run@15", "--set", "data.seed=5"], "error: the run in run-fork-3 can't be resumed"),
                (["run@15", "--set", "output.run_dir=long"], "error: long is already there"),
            ] {
                let command = try run(program, ["fork"] + arguments, in: folder)
                #expect(command.status == 64 && command.errorOutput.contains(message), "\(command.errorOutput)")
            }
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/run-fork-3"))
        }
    }
}
