import Foundation
import ModelFiles
import TestSupport
import Testing

/// `cosmos-train export`, `logits` and `eval` on a Hugging Face model, as a user runs them.
@Suite struct ExchangeCommandTests {
    private let model = repositoryRoot.appending(path: "Tests/CheckpointsTests/Fixtures/grouped-tied-sharded-bf16")
        .path(percentEncoded: false)

    @Test func exportWritesACompactCopyAndReplacesNothing() throws {
        try withTemporaryFolder { folder in
            let done = try run(program, ["export", model, "--bf16", "--output", "out"], in: folder)
            #expect(done.status == 0, "\(done.errorOutput)")
            #expect(done.output.contains("weights     BF16, "))
            let names = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/out").sorted()
            #expect(names == ["config.json", "model.safetensors"])
            let again = try run(program, ["export", model, "--output", "out"], in: folder)
            #expect(again.status == 64)
            #expect(
                again.errorOutput
                    == "error: out is already there\nhint: give --output a folder that does not exist\n")
            let nothing = try run(program, ["export", folder.path, "--output", "other"], in: folder)
            #expect(nothing.status == 64)
            #expect(nothing.errorOutput.contains("holds no model: there is no config.json"))
        }
    }

    @Test func whatBFloat16CannotHoldIsNamedWithItsFile() throws {
        try withTemporaryFolder { folder in
            let copy = folder.appending(path: "model")
            try FileManager.default.copyItem(
                at: repositoryRoot.appending(path: "Tests/CheckpointsTests/Fixtures/grouped-fp32"), to: copy)
            let file = copy.appending(path: "model.safetensors")
            var bytes = try Data(contentsOf: file)
            let start = 8 + bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
            withUnsafeBytes(of: Float(3.4e38)) { bytes.replaceSubrange(start + 4..<start + 8, with: $0) }
            try bytes.write(to: file)
            let command = try run(program, ["export", "model", "--bf16", "--output", "out"], in: folder)
            #expect(command.status == 65)
            #expect(
                command.errorOutput.contains(
                    #/^error: model/model\.safetensors: tensor [a-z_.]+: element 1, 3\.4e\+38, is too large for bfloat16\n/#
                ),
                "\(command.errorOutput)")
            #expect(!FileManager.default.fileExists(atPath: folder.path + "/out"))
        }
    }

    @Test func logitsAreWrittenForTokensOfTheVocabulary() throws {
        try withTemporaryFolder { folder in
            let arguments = ["logits", model, "--tokens", "5", "17", "63", "--output", "logits.safetensors"]
            let done = try run(program, arguments, in: folder)
            #expect(done.status == 0, "\(done.errorOutput)")
            let file = try SafeTensorsFile(path: folder.path + "/logits.safetensors")
            #expect(try file.entry("logits").shape == [3, 64])
            let again = try run(program, arguments, in: folder)
            #expect(again.status == 64 && again.errorOutput.contains("logits.safetensors is already there"))
            let beyond = try run(program, ["logits", model, "--tokens", "64", "--output", "x"], in: folder)
            #expect(beyond.status == 64)
            #expect(beyond.errorOutput.contains("token id 64 is outside the model's vocabulary of 64"))
            let long = try run(
                program, ["logits", model, "--tokens"] + (0..<65).map { _ in "1" } + ["--output", "x"], in: folder)
            #expect(long.status == 64 && long.errorOutput.contains("65 tokens; the model takes 1 to 64"))
        }
    }

    @Test func evalPrintsGaLoresNumberBesideTheExactOne() throws {
        try withTemporaryFolder { folder in
            var tokens: [UInt16] = []
            for document in 0..<90 { tokens += (0...document % 9).map { UInt16(2 + $0) } + [1] }
            try writeShard(tokens, to: folder.path + "/data.bin", endOfTextID: 1)
            let arguments = [
                "eval", model, "--data", "data.bin", "--sequence-length", "8", "--packing", "documents",
            ]
            let exact = try run(program, arguments, in: folder)
            #expect(exact.status == 0, "\(exact.errorOutput)")
            #expect(!exact.output.contains("GaLore"))
            let both = try run(program, arguments + ["--protocol", "galore", "--batch-size", "32"], in: folder)
            func value(_ name: String, _ output: String) throws -> Double {
                let line = try #require(output.split(separator: "\n").first { $0.hasPrefix(name + "  ") })
                return try #require(Double(line.split(separator: " ").last ?? ""))
            }
            let loss = try value("loss", exact.output)
            #expect(abs(try value("loss", both.output) - loss) < 1e-6)
            #expect(both.output.contains("3 of 32 sequences"))
            // Three batches of much the same mean, divided by four.
            let number = try value("loss by GaLore's code", both.output)
            #expect(abs(number - 0.75 * loss) < 0.05 * loss)
            #expect(try value("perplexity by GaLore's code", both.output) == exp(number))
            let unknown = try run(program, arguments + ["--protocol", "gallore"], in: folder)
            #expect(unknown.status == 64 && unknown.errorOutput.contains("galore"))
        }
    }
}
