import Console
import Foundation
import Machine
import Settings
import TensorCore
import TestSupport
import Testing
import Training

@Suite("Run history")
struct RunHistoryTests {
    private func history(_ run: TinyRun, _ folder: String = "run") throws -> RunHistory {
        try #require(try RunHistory(in: run.folder.file(folder)))
    }

    /// The run stands at step 5 again.
    private func removeLaterCheckpoints(_ run: TinyRun) throws {
        for step in try run.folder.names("run/checkpoints") where step > "step-00000005" {
            try FileManager.default.removeItem(atPath: run.folder.file("run/checkpoints/\(step)"))
        }
    }

    @Test("A run says what made it, when it stopped and went on, in its folder and in every checkpoint")
    func provenance() throws {
        let run = try TinyRun()
        let cancellation = CancellationFlag()
        cancellation.request()
        try run.train(cancellation: cancellation)
        try run.train("run", "training.threads=1", purpose: .resume)
        let events = try history(run).events
        #expect(events.map(\.kind) == [.start, .stop, .resume, .finish])
        #expect(events.map(\.step) == [0, 0, 0, 12])
        #expect(events.map { $0.madeBy?.threads } == [testWorkers, nil, 1, nil])
        #expect(try history(run, "run/checkpoints/step-00000005").events == Array(events.prefix(3)))
        let data = try #require(events[0].data)
        #expect(Set(data.keys) == ["data.train", "data.validation"])

        let made = try #require(events[0].madeBy)
        #expect(made.program == "cosmos-train \(Provenance.programVersion)")
        #expect(made.commit == "unknown")
        #expect(made.cores == availableCoreCount)
        #expect(made.openBLAS.contains(/^\d+\.\d+.*, kernels for \w+$/), "\(made.openBLAS)")
        #expect(made.oneDNN.contains(/^\d+\.\d+/) && made.lapacke.contains(/^\d+\.\d+/))
        #expect(made.build.hasPrefix("release, ") || made.build.hasPrefix("debug, "))
        let information = try #require(FileManager.default.contents(atPath: "/proc/cpuinfo"))
        #expect(made.cpu == "unknown" || String(decoding: information, as: UTF8.self).contains(": \(made.cpu)\n"))
        #expect(!made.host.isEmpty && !made.command.hasPrefix("/"))
    }

    @Test("A failure is an event, too")
    func failure() throws {
        let run = try TinyRun()
        #expect(throws: RunFailure.self) { try run.train("run", "optimizer.lr=1.0e+38") }
        #expect(try history(run).events.map(\.kind) == [.start, .failure])
    }

    @Test("A resume that changes what the numbers depend on is recorded with step, key and values, and said")
    func changes() throws {
        let run = try TinyRun()
        try run.train()
        try removeLaterCheckpoints(run)
        try run.train("run", "optimizer.lr=0.02", "output.keep_checkpoints=9", purpose: .resume, resetOptimizer: true)
        let changes = [
            RunHistory.Change(setting: "optimizer.lr", old: "0.01", new: "0.02"),
            RunHistory.Change(setting: "optimizer state", old: "of 5 steps", new: "zero"),
        ]
        for folder in ["run", "run/checkpoints/step-00000010", "run/checkpoints/latest"] {
            let event = try #require(try history(run, folder).events.last { $0.kind == .resume })
            #expect(event.step == 5 && event.changes == changes, "\(folder): \(event)")
        }
        let phrase = "after step 5 optimizer.lr 0.01 -> 0.02, optimizer state of 5 steps -> zero"
        #expect(try history(run).changes == [phrase])
        #expect(try run.folder.text("run/train.log").contains("note: \(phrase): `compare` gives this run no rank"))
        for file in ["run/config.resolved.cfg", "run/checkpoints/latest/run.cfg"] {
            let text = try run.folder.text(file)
            #expect(text.hasPrefix("# Not from the first step on: \(phrase) (history.json).\n"))
            #expect(try RunConfiguration(file: run.folder.file(file)).steps == 12)
        }
        // An optimizer that begins anew with the same settings is a change as well.
        try run.train("run", "optimizer.lr=0.02", "training.threads=1", purpose: .resume, resetOptimizer: true)
        #expect(try history(run).changes == [phrase, "after step 12 optimizer state of 7 steps -> zero"])
    }

    @Test("What changes no number is no change")
    func harmless() throws {
        let run = try TinyRun()
        let schedule = "schedule={name: constant, warmup: 2}"
        try run.train("run", schedule, "training.steps=6")
        try run.train(
            "run", schedule, "training.steps=12", "training.threads=1", "evaluation.every=3", purpose: .resume)
        #expect(try history(run).changes == [])
        #expect(try !run.folder.text("run/config.resolved.cfg").contains("Not from the first step on"))
    }

    @Test("A change of which no checkpoint knows is undone, and cannot be continued in silence")
    func undone() throws {
        let run = try TinyRun()
        try run.train("straight")
        try run.train()
        try removeLaterCheckpoints(run)
        // As if the run had been killed before the first checkpoint with the new setting.
        try run.train("run", "optimizer.lr=0.02", purpose: .resume, resetOptimizer: true)
        try removeLaterCheckpoints(run)
        let error = #expect(throws: UserError.self) { try run.train("run", "optimizer.lr=0.02", purpose: .resume) }
        #expect(error?.message.hasSuffix("optimizer.lr was 0.01 and is now 0.02") == true, "\(error?.message ?? "")")
        try run.train(purpose: .resume)
        #expect(try history(run).changes == [])
        #expect(try history(run).events.count { $0.isUndone == true } == 1)
        try run.expectEqual("straight", "run")
    }

    @Test("Other validation data under the same name is a change")
    func otherValidationData() throws {
        let run = try TinyRun()
        try run.train()
        try removeLaterCheckpoints(run)
        try writeShard(learnableTokens(1_001, vocabulary: 32, seed: 8), to: run.folder.file("validation.bin"))
        try run.train(purpose: .resume)
        let changes = try history(run).changes
        #expect(changes.count == 1 && changes[0].hasPrefix("after step 5 what data.validation holds "), "\(changes)")
    }

    @Test("A run of an older version, without history, goes on with a notice")
    func olderVersion() throws {
        let run = try TinyRun()
        try run.train("straight")
        try run.train()
        try removeLaterCheckpoints(run)
        let checkpoint = "run/checkpoints/step-00000005/"
        for file in ["run/history.json", checkpoint + "history.json", checkpoint + "run.cfg"] {
            try FileManager.default.removeItem(atPath: run.folder.file(file))
        }
        var manifest = try #require(
            try JSONSerialization.jsonObject(with: Data(run.folder.bytes(checkpoint + "MANIFEST.json")))
                as? [String: Any])
        for name in ["history.json", "run.cfg"] { manifest[name] = nil }
        try run.folder.write(JSONSerialization.data(withJSONObject: manifest), checkpoint + "MANIFEST.json")
        let refused = #expect(throws: UserError.self) { try run.train("run", "optimizer.lr=0.02", purpose: .resume) }
        #expect(refused?.message.hasSuffix("optimizer.lr was 0.01 and is now 0.02") == true)
        let settings = try run.folder.bytes("run/config.resolved.cfg")
        try FileManager.default.removeItem(atPath: run.folder.file("run/config.resolved.cfg"))
        let unknown = #expect(throws: UserError.self) { try run.train(purpose: .resume) }
        #expect(
            unknown?.message.hasSuffix(
                "/run/config.resolved.cfg is missing: it says with which settings the run was started, which must not change"
            ) == true)
        try run.folder.write(settings, "run/config.resolved.cfg")
        try run.train(purpose: .resume)
        try run.expectEqual("straight", "run")
        #expect(try run.folder.text("run/train.log").contains("note: what made the first steps is not known"))
        #expect(try !history(run).isWhole)
    }

    @Test("Of a history that is damaged or was emptied the checkpoint's copy is left", arguments: ["[{]", "[]", nil])
    func damaged(text: String?) throws {
        let run = try TinyRun()
        try run.train()
        try removeLaterCheckpoints(run)
        try run.train("run", "optimizer.lr=0.02", purpose: .resume, resetOptimizer: true)
        let whole = try history(run)
        let file = run.folder.file("run/history.json")
        if let text { try run.folder.write(text.utf8, "run/history.json") } else { unlink(file) }
        var warnings: [String] = []
        let checkpoint = run.folder.file("run/checkpoints/latest")
        let read = try RunHistory(of: run.folder.file("run"), at: checkpoint) { warnings.append($0) }
        #expect(read.changes == whole.changes && !read.changes.isEmpty)
        #expect(warnings.count == (text == "[{]" ? 1 : 0))
        try run.train("run", "optimizer.lr=0.02", purpose: .resume)
        let events = try history(run).events
        #expect(try history(run).changes == whole.changes)
        // The end of the run came after its last checkpoint.
        #expect(Array(events.dropLast(2)) == whole.events.dropLast())
        #expect(events.suffix(2).map(\.kind) == [.resume, .finish])
        let said = try run.folder.text("run/train.log")
        #expect(
            said.contains("  warning: \(file): ") == (text == "[{]")
                && said.contains("; its copy in the checkpoint is taken\n") == (text == "[{]"))
    }

    @Test("What a changed history says does not count against the checkpoint's copy")
    func contradicting() throws {
        let run = try TinyRun()
        try run.train()
        try removeLaterCheckpoints(run)
        try run.train("run", "optimizer.lr=0.02", purpose: .resume, resetOptimizer: true)
        let text = try run.folder.text("run/history.json")
        for (old, new) in [
            (#""changes" : ["#, #""isUndone" : true, "changes" : ["#), (#""new" : "0.02""#, #""new" : "0.01""#),
        ] {
            try run.folder.write(text.replacing(old, with: new).utf8, "run/history.json")
            let read = try RunHistory(of: run.folder.file("run"), at: run.folder.file("run/checkpoints/latest")) {
                Issue.record("\($0)")
            }
            #expect(read.changes.first == "after step 5 optimizer.lr 0.01 -> 0.02, optimizer state of 5 steps -> zero")
        }
    }
}
