import Foundation
import TestSupport
import Testing

/// `cosmos-train tokenizer` and `cosmos-train tokenize` as a user runs them.
@Suite struct TokenizeCommandTests {
    /// A file of JSON lines in `folder`, and a tokenizer that was trained on it by the command.
    private func prepare(_ folder: URL, lines: Int = 300) throws {
        let text = (0..<lines).map {
            #"{"text": "the \#($0) quick brown foxes jump over \#($0 * 7919 % 1000) lazy dogs"}"#
        }
        try Data(text.joined(separator: "\n").utf8).write(to: folder.appending(path: "text.jsonl"))
        let command = try run(
            program,
            [
                "tokenizer", "--input", "text.jsonl", "--output", "t.model", "--vocab-size", "320", "--model-type",
                "bpe",
            ],
            in: folder)
        #expect(command.status == 0, "\(command.errorOutput)")
        #expect(command.output.contains("pieces     320"))
        // Nothing but progress, where a busy machine takes long.
        #expect(
            command.errorOutput.split(separator: "\n").allSatisfy { $0.starts(with: #/(reading|training) /#) },
            "\(command.errorOutput)")
    }

    private func tokenize(
        _ arguments: [String], tokenizer: String = "t.model", in folder: URL
    ) throws -> FinishedCommand {
        try run(program, ["tokenize", "--tokenizer", tokenizer, "--output", "shards"] + arguments, in: folder)
    }

    private func shards(_ folder: URL) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder.path + "/shards")) ?? []).filter {
            $0.hasSuffix(".bin")
        }
    }

    @Test func textBecomesShardsAndATable() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let command = try tokenize(
                ["--input", "text.jsonl", "--shard-tokens", "3000", "--threads", "2"], in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            #expect(command.errorOutput == "")
            for row in [
                "documents        300\n", "tokens ", "bytes per token", "unigram entropy", " nats (perplexity ",
                "shards ",
            ] {
                #expect(command.output.contains(row), "\(command.output) lacks \(row)")
            }
            #expect(shards(folder).count > 1)
        }
    }

    /// Shards that are not complete lie in a folder of that name.
    @Test func aLinkInPlaceOfTheUnfinishedShardsIsRefused() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let files = FileManager.default
            for name in ["shards", "elsewhere"] {
                try files.createDirectory(at: folder.appending(path: name), withIntermediateDirectories: false)
            }
            try Data("precious".utf8).write(to: folder.appending(path: "elsewhere/thesis"))
            let link = folder.appending(path: "shards/.train.tmp-tokenize")
            try files.createSymbolicLink(at: link, withDestinationURL: folder.appending(path: "elsewhere"))
            let command = try tokenize(["--input", "text.jsonl"], in: folder)
            #expect(
                command.status == 74 && command.errorOutput.contains(".train.tmp-tokenize: it is a symbolic link"),
                "\(command.errorOutput)")
            #expect(try files.contentsOfDirectory(atPath: folder.path + "/elsewhere") == ["thesis"])
            #expect(shards(folder) == [])
        }
    }

    @Test func mistakesAreToldOnceWithACodeAndAHint() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            try Data("{\n".utf8).write(to: folder.appending(path: "bad.jsonl"))
            for (arguments, status, message) in [
                (["--input", "bad.jsonl"], 65, "error: bad.jsonl:1: malformed JSON"),
                (["--input", "none.jsonl"], 74, "error: cannot open none.jsonl: No such file or directory"),
                (["--input", "text.jsonl", "--shard-tokens", "0"], 64, "error: a shard of 0 tokens"),
            ] {
                let command = try tokenize(arguments, in: folder)
                #expect(Int(command.status) == status)
                #expect(command.errorOutput.hasPrefix(message), "\(command.errorOutput)")
                #expect(command.output == "")
                #expect(command.errorOutput.split(separator: "\n").count <= 2)
            }
            let command = try tokenize(["--input", "text.jsonl"], tokenizer: "text.jsonl", in: folder)
            #expect(command.status == 65)
            #expect(command.errorOutput.hasPrefix("error: text.jsonl is not a SentencePiece model"))
            #expect(command.errorOutput.contains(" cannot be read as one\nhint: "), "\(command.errorOutput)")
            #expect(shards(folder) == [])
        }
    }

    @Test func aFullDiskIsAnErrorAndLeavesNothing() throws {
        try withTemporaryFolder { folder in
            try prepare(folder)
            let command = try run(
                "bash",
                [
                    "-c",
                    limitingFiles(to: 2)
                        + "exec '\(program)' tokenize --tokenizer t.model --input text.jsonl --output shards",
                ],
                in: folder)
            #expect(command.status == 74, "\(command.errorOutput)")
            #expect(command.errorOutput.contains("File too large"))
            let training = try run(
                "bash",
                [
                    "-c",
                    limitingFiles(to: 1)
                        + "exec '\(program)' tokenizer --input text.jsonl --output u.model --vocab-size 320 --model-type bpe",
                ],
                in: folder)
            #expect(training.status == 74, "\(training.errorOutput)")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == [
                    "t.model", "text.jsonl",
                ])
        }
    }

    /// The input is a pipe that never ends, so that the program is sure to be in the middle of its work.
    @Test func aKilledRunLeavesNothingThatLooksFinished() throws {
        try withTemporaryFolder { folder in
            try prepare(folder, lines: 20_000)
            let command = try run(
                "bash",
                [
                    "-c",
                    """
                    set -m  # the feeder gets a process group of its own, to be ended as a whole
                    mkfifo endless.jsonl
                    (for i in 1 2 3 4 5; do cat text.jsonl; done; sleep 20) > endless.jsonl & feeder=$!
                    tokenize() {
                        '\(program)' tokenize --tokenizer t.model --threads 1 --shard-tokens 10000 \\
                            --output shards --input $1
                    }
                    tokenize endless.jsonl & tokenizer=$!
                    for i in $(seq 200); do
                        ls -A shards/.train.tmp-tokenize 2>/dev/null | grep -q bin && break
                        sleep 0.05
                    done
                    ls -A shards/.train.tmp-tokenize
                    # Another one does not disturb it.
                    tokenize text.jsonl; echo "second: $?"
                    kill -KILL -- -$tokenizer; kill -KILL -- -$feeder; wait
                    """,
                ], in: folder)
            #expect(command.output.contains("train_000000.bin"), "\(command.output) \(command.errorOutput)")
            #expect(command.output.contains("second: 64"))
            #expect(command.errorOutput.contains("is writing shards in shards"))
            #expect(shards(folder) == [])
            let again = try tokenize(["--input", "text.jsonl"], in: folder)
            #expect(again.status == 0, "\(again.errorOutput)")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path + "/shards") == ["train_000000.bin"])
        }
    }

    /// The input is a pipe that gives a part and then nothing: the program waits for more when it is stopped.
    @Test(arguments: ["TERM", "INT"]) func aStoppedRunLeavesNothing(signal: String) throws {
        try withTemporaryFolder { folder in
            try prepare(folder, lines: 20_000)
            let command = try run(
                "bash",
                [
                    "-c",
                    """
                    set -m  # with job control a background job has SIGINT switched on
                    mkfifo slow.jsonl
                    (cat text.jsonl; cat text.jsonl; sleep 30) > slow.jsonl & feeder=$!
                    '\(program)' tokenize --tokenizer t.model --threads 1 --shard-tokens 10000 \\
                        --output shards --input slow.jsonl & tokenizer=$!
                    for i in $(seq 200); do
                        [ -e shards/.train.tmp-tokenize ] && break
                        sleep 0.05
                    done
                    sleep 0.3
                    ls -A shards
                    kill -\(signal) $tokenizer; wait $tokenizer; echo "status: $?"
                    kill -KILL -- -$feeder
                    """,
                ], in: folder)
            #expect(
                command.output == ".train.tmp-tokenize\nstatus: \(signal == "INT" ? 130 : 143)\n",
                "\(command.output) \(command.errorOutput)")
            #expect(command.errorOutput.contains("stopped by SIG\(signal); nothing half-written is left"))
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/shards"))
        }
    }
}
