import Foundation
import TestSupport
import Testing

/// scripts/quickstart.sh on a text of one's own, with this build of the program.
@Suite struct QuickstartTests {
    @Test(.disabled(if: isSanitized, "scripts/quickstart.sh runs the program of an ordinary build"))
    func runsOfOtherSettingsAndHintsFitTheText() throws {
        try withTemporaryFolder { folder in
            let files = FileManager.default
            for name in ["scripts", "configs"] {
                try files.copyItem(at: repositoryRoot.appending(path: name), to: folder.appending(path: name))
            }
            try files.createDirectory(at: folder.appending(path: ".build/release"), withIntermediateDirectories: true)
            try files.createSymbolicLink(
                atPath: folder.path + "/.build/release/cosmos-train", withDestinationPath: program)
            // The program is built already.
            let swift = "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Swift version 6.3' || exit 0\n"
            try Data(swift.utf8).write(to: folder.appending(path: "swift"))
            try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: folder.path + "/swift")
            let syllables = ["ba", "de", "ki", "lo", "mu", "na", "po", "ri", "su", "te", "vo", "za"]
            var state: UInt64 = 1
            func word() -> String {
                (0..<3).map { _ in
                    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                    return syllables[Int(state >> 33) % syllables.count]
                }.joined()
            }
            let lines = (0..<200).map { _ in
                "{\"text\": \"Zebra \((0..<80).map { _ in word() }.joined(separator: " "))\"}\n"
            }
            try Data(lines.joined().utf8).write(to: folder.appending(path: "own text.jsonl"))

            func quickstart(_ settings: String...) throws -> FinishedCommand {
                let small = ["evaluation.tokens=256", "schedule.warmup=1"] + settings
                return try run(
                    "env",
                    ["PATH=\(folder.path):/usr/bin:/bin", "scripts/quickstart.sh", "--input", "own text.jsonl"]
                        + small.flatMap { ["--set", $0] }, in: folder)
            }
            let first = try quickstart("training.steps=2")
            #expect(first.status == 0, "\(first.output)\(first.errorOutput)")
            #expect(first.output.contains(/generate runs\/own-text --prompt Zebra\\ \w+\\ \w+\n/), "\(first.output)")
            #expect(
                !first.output.contains("package") && first.output.contains("own\\ text.jsonl --set training.steps="))

            let second = try quickstart("training.steps=3")
            #expect(second.status == 0, "\(second.output)\(second.errorOutput)")
            for text in [
                "runs/own-text was made with --set evaluation.tokens=256 --set schedule.warmup=1 --set training.steps=2, not with",
                "this run is runs/own-text-2", "runs/own-text-2/checkpoints/step-00000003",
            ] {
                #expect(second.output.contains(text), "\(second.output) lacks \(text)")
            }
            let third = try quickstart("training.steps=2", "output.run_dir=runs/mine")
            #expect(third.status == 0 && third.output.contains("runs/mine/checkpoints/step-00000002"))
        }
    }
}
