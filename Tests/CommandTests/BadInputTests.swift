import Foundation
import TestSupport
import Testing

/// What every command owes a user who gives it something bad: a message, a hint, an exit code, and no traces.
@Suite struct BadInputTests {
    /// Data, `run.cfg` and, where asked for, the run that it describes.
    private func prepare(_ folder: URL, trained: Bool = false) throws {
        try TinyRun(checkpointEvery: 2).write(to: folder)
        if trained { #expect(try run(program, ["--config", "run.cfg"], in: folder).status == 0) }
    }

    private func shell(_ command: String, in folder: URL) throws -> FinishedCommand {
        try run("bash", ["-c", command], environment: ["P": program], in: folder)
    }

    @Test(arguments: ["optimizers", "optimizers cosmos", "eval run --threads 1", "plan --config run.cfg --no-probe"])
    func aResultThatCannotBeWrittenIsAnError(command: String) throws {
        try withTemporaryFolder { folder in
            try prepare(folder, trained: command.hasPrefix("eval"))
            let full = try shell("$P \(command) > /dev/full", in: folder)
            #expect(full.status == 74)
            #expect(full.errorOutput.hasPrefix("error: cannot write to the standard output: No space left on device\n"))
            // A closed pipe, with the signal and where a parent has switched it off.
            for prefix in ["", "trap '' PIPE; "] {
                let closed = try shell("(\(prefix)sleep 0.1; $P \(command); echo $? >&2) | true", in: folder)
                #expect(closed.errorOutput == "141\n", "\(closed.errorOutput)")
            }
        }
    }

    @Test(arguments: [
        ("foo", "error: unknown command `foo`\nhint: the commands are train, resume, fork, plan"),
        ("evla run", "error: unknown command `evla`\nhint: did you mean `eval`?"),
        ("", "error: no configuration file is given, such as configs/quickstart.cfg"),
        ("plan", "error: no configuration file is given"),
        ("run.cfg --config other.cfg", "error: 2 configuration files are given: run.cfg, other.cfg"),
        (
            "run.cfg --set optimizer.learning_rate=1",
            "error: --set optimizer.learning_rate: unknown key `optimizer.learning_rate`\nhint: did you mean `lr`?\n"
        ),
        (
            "run.cfg --set training.learning_rate=1",
            "error: --set training.learning_rate: unknown key `training.learning_rate`\nhint: did you mean `optimizer.lr`?\n"
        ),
        (
            "run.cfg --set model.num_layers=1",
            "error: --set model.num_layers: unknown key `model.num_layers`\nhint: did you mean `num_hidden_layers`?\n"
        ),
        (
            "run.cfg --set max_grad_norm=1",
            "error: --set max_grad_norm: unknown key `max_grad_norm`\nhint: did you mean `training.gradient_clip`?\n"
        ),
        (
            "run.cfg --set $'model.a\\e[2J\\x07=1'",
            "error: --set model.a\\x1b[2J\\x07: unknown key `model.a\\x1b[2J\\x07`\nhint: known here"
        ),
        ("eval", "error: missing expected argument '<model>'\nhint: <model>: The folder of a run"),
        ("eval run --micro-batch-size 1025", "error: --micro-batch-size 1025: must be from 1 to 1024\n"),
        ("generate run --frob", "error: unknown option '--frob'\nhint: `cosmos-train generate --help` tells more\n"),
        ("generate run --temprature 1", "error: unknown option '--temprature'\nhint: did you mean `--temperature`?\n"),
        ("generate run --temperature -1", "error: --temperature -1.0: must be 0 or greater"),
        ("generate run --samples --top-p 0.5", "error: the value '--top-p' is invalid for '--samples <samples>'"),
        ("tokenizer --input a --output b --vocab-size 60 --unk-id -1", "error: --unk-id -1: SentencePiece needs"),
        (
            "sweep --config run.cfg --grid a.yaml --out x",
            "error: unknown option '--grid'\nhint: `cosmos-train sweep --help`"
        ),
        ("--config a.cfg --config b.cfg", "error: 2 configuration files are given: a.cfg, b.cfg"),
        (
            "--config run.cfg --set schedule.name=wsd --set schedule.decay=9223372036854775807",
            "error: --set schedule.decay: schedule.decay: 9223372036854775807 is not a number of steps"
        ),
        (
            "plan --no-probe --config run.cfg --set output.keep_checkpoints=10000000000000",
            "error: --set output.keep_checkpoints: output.keep_checkpoints: 10000000000000 must be from 1 to 1000000"
        ),
        (
            "sweep --config run.cfg --vary optimizer.lr=1,2,3,4,5,6,7,8,9,10,11 --seeds 1000 --out x --dry-run",
            "error: the grid has 11,000 runs, more than 10,000"
        ),
        ("--config ''", "error: cannot open \"\": the name is empty"),
        ("generate ''", "error: cannot open \"\": the name is empty"),
        ("--config run.cfg --set base=x.cfg", "error: --set base: only a file can rest on another one"),
        ("--config run.cfg --set model.hidden_size=1000000000", "error: --set model.hidden_size: model.hidden_size: "),
        ("--config run.cfg --set model.hidden_size=16384 --set model.num_hidden_layers=900", "error: the run takes "),
        (
            "plan --no-probe --config run.cfg --set model.hidden_size=16384 --set model.num_hidden_layers=1024",
            "error: --set model.hidden_size: model.hidden_size: 16384 and the other sizes make a model of some 1.1"
        ),
        ("--config run.cfg --set output.run_dir=''", "error: --set output.run_dir: output.run_dir: has no value"),
        ("--confg run.cfg", "error: unknown option '--confg'\nhint: did you mean `--config`?\n"),
        ("sweep --config run.cfg --vary optimizer.lr=1,2 --out ''", "error: cannot create the folder \"\""),
        (
            "--config run.cfg --set training.batch_size=16777216 --set training.micro_batch_size=16777216",
            "error: --set training.micro_batch_size: training.micro_batch_size: 16777216 sequences of 32 tokens"
        ),
    ])
    func misuseIsToldInOneForm(arguments: String, message: String) throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let command = try shell("$P \(arguments)", in: folder)
            #expect(command.status == 64, "\(command.errorOutput)")
            #expect(command.errorOutput.hasPrefix(message), "\(command.errorOutput)")
            #expect(command.errorOutput.contains("\nhint: "))
            #expect(command.output == "")
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))
        }
    }

    @Test func aConfigurationNeedsNoFlag() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            for (index, command) in ["", "train"].enumerated() {
                let trained = try shell("$P \(command) run.cfg --set output.run_dir=run\(index)", in: folder)
                #expect(trained.status == 0, "\(trained.errorOutput)")
            }
            #expect(try shell("$P plan run.cfg --no-probe", in: folder).status == 0)
        }
    }

    /// What others wrote reaches a terminal without control characters, and a file as it is.
    @Test func textOnATerminalCommandsNothing() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, trained: true)
            let text = (1...200).map { "a b c d e f g h i j k \($0)" }.joined(separator: "\n")
            try Data(text.utf8).write(to: folder.appending(path: "a.txt"))
            let train =
                "$P tokenizer --input a.txt --output run/t.model --vocab-size 26 --model-type bpe --no-byte-fallback"
            #expect(try shell(train, in: folder).status == 0)
            let generate = "$P generate run --tokenizer run/t.model --prompt $'a\\e[2J b\\a' --max-tokens 2"
            let file = try shell(generate, in: folder)
            #expect(file.status == 0 && file.output.hasPrefix("a\u{1b}[2J b\u{7}"), "\(file.errorOutput)")
            let command = generate.replacing("$P", with: program).replacing("\"", with: "\\\"")
            let terminal = try shell("script -qec \"bash -c \\\"\(command)\\\"\" /dev/null", in: folder)
            // A note about the tokenizer comes before it.
            #expect(terminal.output.contains("\na\\x1b[2J b\\x07"), "\(terminal.output) \(terminal.errorOutput)")
        }
    }

    @Test func decayBeyondTheWeightIsSaid() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            for (decay, isSaid) in [("150", true), ("50", false)] {
                let command = try shell(
                    "$P run.cfg --replace --set optimizer.lr=0.01 --set optimizer.weight_decay=\(decay)", in: folder)
                #expect(
                    command.errorOutput.contains("note: optimizer.lr x optimizer.weight_decay is 1.5: at its peak")
                        == isSaid,
                    "\(command.errorOutput)")
            }
        }
    }

    @Test func pipesWhereFilesBelongDoNotHang() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, trained: true)
            try #require(mkfifo(folder.path + "/pipe", 0o600) == 0)
            for arguments in [
                "--config pipe", "--config run.cfg --replace --set data.train=pipe",
                "--config run.cfg --replace --set data.tokenizer=pipe", "eval run --data pipe",
                "generate run --tokenizer pipe", "tokenize --tokenizer pipe --input a.txt --output shards",
            ] {
                let command = try shell("timeout 20 $P \(arguments)", in: folder)
                #expect(command.status == 74, "\(arguments): \(command.errorOutput)")
                #expect(
                    command.errorOutput.hasPrefix("error: cannot open pipe: it is a pipe, a regular file is expected"))
            }
        }
    }

    /// What fails when the folder is there already takes it away again, and puts back what it replaced.
    @Test func aStartThatFailsLeavesNoRun() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let start = limitingFiles(to: 0) + "exec $P --config run.cfg"
            #expect(try shell(start, in: folder).status == 74)
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))
            #expect(try run(program, ["--config", "run.cfg"], in: folder).status == 0)
            #expect(try shell(start + " --replace", in: folder).status == 74)
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().contains("run.old-1") == false
            )
            #expect(FileManager.default.fileExists(atPath: folder.path + "/run/checkpoints/step-00000004"))
        }
    }

    /// Stacks of threads count as address space, of which there can be too little for a thousand.
    @Test(.disabled(if: isSanitized, "a sanitizer wants terabytes of address space"))
    func threadsThatTheSystemRefusesAreAnError() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let command = try shell(
                "ulimit -v 4000000; exec $P --config run.cfg --set training.threads=1024", in: folder)
            #expect(command.status == 64)
            #expect(
                command.errorOutput.contains(
                    /^error: the system starts no more than \d+ of 1024 worker threads\nhint: .*`ulimit -u` is \w+/),
                "\(command.errorOutput)")
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/run"))
        }
    }

    @Test func lostPiecesOfARunAreToldAndTheRestGoesOn() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, trained: true)
            let newest = folder.path + "/run/checkpoints/step-00000004/MANIFEST.json"
            try FileManager.default.removeItem(atPath: newest)
            try FileManager.default.createDirectory(atPath: newest, withIntermediateDirectories: false)
            try FileManager.default.removeItem(atPath: folder.path + "/run/log.csv")
            let resumed = try run(program, ["--config", "run.cfg", "--resume"], in: folder)
            #expect(resumed.status == 0, "\(resumed.errorOutput)")
            #expect(resumed.errorOutput.contains("MANIFEST.json is missing; trying the one before"))
            #expect(resumed.errorOutput.contains("warning: run/log.csv is missing: it begins anew"))
            let log = try String(contentsOf: folder.appending(path: "run/log.csv"), encoding: .utf8)
            #expect(log.split(separator: "\n").dropFirst().map { $0.prefix(2) } == ["3,", "4,"])

            // Checkpoints have a copy of the settings.
            let settings = folder.path + "/run/config.resolved.cfg"
            try FileManager.default.removeItem(atPath: settings)
            let other = ["--config", "run.cfg", "--resume", "--set", "training.seed=9"]
            #expect(try run(program, other, in: folder).errorOutput.contains("training.seed was 1 and is now 9"))
            #expect(try run(program, ["--config", "run.cfg", "--resume"], in: folder).status == 0)
            #expect(FileManager.default.fileExists(atPath: settings))
        }
    }
}
