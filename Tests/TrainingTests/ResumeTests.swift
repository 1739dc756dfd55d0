import Checkpoints
import Console
import Files
import Foundation
import LLaMA
import Optimizers
import Settings
import TensorCore
import TestSupport
import Testing
import TokenData
import Training

@Suite("Resuming")
struct ResumeTests {
    private func stopEarly(_ run: TinyRun, _ assignments: [String] = []) throws {
        // A run whose last checkpoints are gone stands at step 5.
        try run.train()
        for step in ["10", "12"] {
            try FileManager.default.removeItem(atPath: run.folder.file("run/checkpoints/step-000000\(step)"))
        }
    }

    @Test("A folder that holds a run is refused, continued or set aside, as asked")
    func existingRun() throws {
        let run = try TinyRun()
        let none = #expect(throws: UserError.self) { try run.train(purpose: .resume) }
        #expect(none?.message.contains("there is no run to resume in") == true)
        try run.train()
        let weights = try run.tensors()
        let error = #expect(throws: UserError.self) { try run.train() }
        #expect(error?.message.hasSuffix("/run already holds a run") == true)
        try run.train("run", "training.seed=3", purpose: .replace)
        #expect(try run.tensors("run.old-1") == weights)
        #expect(try run.tensors() != weights)
    }

    @Test(
        "Settings that change the numbers are refused by name",
        arguments: [
            ("optimizer.lr=0.02", "optimizer.lr was 0.01 and is now 0.02"),
            ("training.batch_size=16", "training.batch_size was 8 and is now 16"),
            ("training.micro_batch_size=8", "training.micro_batch_size was 4 and is now 8"),
            ("training.gradient_lanes=2", "training.gradient_lanes was 1 and is now 2"),
            ("training.seed=2", "training.seed was 1 and is now 2"),
            ("data.seed=2", "data.seed was 1 and is now 2"),
            ("model.rope_theta=500.0", "model.rope_theta was 10000.0 and is now 500.0"),
            ("schedule.name=linear", "schedule.name was cosine and is now linear"),
            ("training.steps=24", "training.steps was 12 and is now 24"),
            ("evaluation.tokens=100", "evaluation.tokens was 500 and is now 100"),
        ])
    func refused(assignment: String, message: String) throws {
        let run = try TinyRun()
        try stopEarly(run)
        let error = #expect(throws: UserError.self) { try run.train("run", assignment, purpose: .resume) }
        #expect(
            error?.message.hasSuffix("can't be resumed with other settings: \(message)") == true,
            "\(error?.message ?? "")")
        #expect(error?.kind == .usage)
    }

    @Test("Other tokens in as many windows are refused")
    func otherTokens() throws {
        let run = try TinyRun()
        try stopEarly(run)
        try writeShard(learnableTokens(4_001, vocabulary: 32, seed: 9), to: run.folder.file("train.bin"))
        let error = #expect(throws: UserError.self) { try run.train(purpose: .resume) }
        #expect(error?.message.hasSuffix("holds other tokens than when the run began") == true)
    }

    @Test("A checkpoint whose weights have changed is no model to use, and the one before is")
    func damagedWeights() throws {
        let run = try TinyRun()
        try run.train()
        let newest = "run/checkpoints/step-00000012"
        var bytes = try run.folder.bytes("\(newest)/model.safetensors")
        bytes[bytes.count - 1] ^= 1
        try run.folder.write(bytes, "\(newest)/model.safetensors")
        let error = #expect(throws: UserError.self) {
            try ModelFolder(run.folder.file(newest)).loadModel(
                pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: 16)
        }
        #expect(try ModelFolder(run.folder.file("run")).path.hasSuffix("/step-00000010"))
        #expect(error?.kind == .data)
        #expect(error?.message.hasSuffix("the contents of model.safetensors have changed (CRC-32)") == true)
    }

    @Test("Where `latest` stayed behind, readers take the newest checkpoint, and a resumed run repairs it")
    func staleLatest() throws {
        let run = try TinyRun()
        try run.train()
        let latest = run.folder.file("run/checkpoints/latest")
        for isFolder in [false, true] {
            try FileManager.default.removeItem(atPath: latest)
            if isFolder {
                try FileManager.default.copyItem(
                    atPath: run.folder.file("run/checkpoints/step-00000005"), toPath: latest)
            } else {
                try FileManager.default.createSymbolicLink(atPath: latest, withDestinationPath: "step-00000005")
            }
            for path in ["run", "run/checkpoints/latest", "run/checkpoints/latest/"] {
                #expect(try ModelFolder(run.folder.file(path)).path.hasSuffix("/step-00000012"))
            }
            try run.train(purpose: .resume)
            #expect(try FileManager.default.destinationOfSymbolicLink(atPath: latest) == "step-00000012")
        }
        #expect(
            try run.folder.names("run/checkpoints") == ["latest", "step-00000005", "step-00000010", "step-00000012"])
    }

    @Test("A folder `latest` that is the only copy of a checkpoint becomes one, another one keeps its files")
    func copiedLatest() throws {
        let run = try TinyRun()
        try run.train("straight")
        try run.train()
        let folder = run.folder.file("run/checkpoints")
        unlink(folder + "/latest")
        for step in ["05", "12"] { try FileManager.default.removeItem(atPath: "\(folder)/step-000000\(step)") }
        rename("\(folder)/step-00000010", "\(folder)/latest")
        try run.train(purpose: .resume)
        try run.expectEqual("straight", "run")
        unlink(folder + "/latest")
        try FileManager.default.createDirectory(atPath: folder + "/latest", withIntermediateDirectories: false)
        try run.folder.write("notes".utf8, "run/checkpoints/latest/notes")
        try run.train(purpose: .resume)
        #expect(
            try run.folder.names("run/checkpoints") == ["latest", "latest.old-1", "step-00000010", "step-00000012"])
        #expect(try run.folder.text("run/checkpoints/latest.old-1/notes") == "notes")
        // Another checkpoint of a step that is there.
        try run.train("other", "training.seed=2")
        unlink(folder + "/latest")
        try FileManager.default.copyItem(
            atPath: run.folder.file("other/checkpoints/step-00000012"), toPath: folder + "/latest")
        try run.train(purpose: .resume)
        #expect(
            try run.folder.bytes("run/checkpoints/latest.old-2/model.safetensors") == run.tensors("other")[0])
        try run.expectEqual("straight", "run")
    }

    @Test("A step can be chosen, and one that is not there is named with those that are")
    func chosenStep() throws {
        let run = try TinyRun()
        try run.train("straight")
        try run.train()
        let error = #expect(throws: UserError.self) { try run.train(purpose: .resume, step: 7) }
        #expect(error?.message.contains("no checkpoint of step 7") == true)
        #expect(error?.hint?.contains("5, 10, 12") == true)
        try run.train("run", "output.checkpoint_every=0", purpose: .resume, step: 5)
        try run.expectEqual("straight", "run")
        #expect(
            try run.folder.names("run/checkpoints") == [
                "aside-00000010", "aside-00000012", "latest", "step-00000005", "step-00000012",
            ])
        // One that was set aside can be chosen, too.
        try run.train(purpose: .resume, step: 10)
        try run.expectEqual("straight", "run")
    }

    @Test("A fork and a reader say that a checkpoint was removed while they read it, and leave nothing")
    func vanishedCheckpoint() throws {
        let run = try TinyRun()
        try run.train()
        let fork = try RunFork(of: run.folder.file("run"), step: nil)
        let model = try ModelFolder(run.folder.file("run"))
        try FileManager.default.removeItem(atPath: fork.checkpoint.path)
        let error = #expect(throws: UserError.self) {
            try fork.make(run.folder.file("fork"), run.configuration([]), origin: "run@12")
        }
        #expect(error?.kind == .data && error?.message == "\(fork.checkpoint.path) was removed while it was read")
        let reading = #expect(throws: UserError.self) {
            try model.loadModel(pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: 1)
        }
        #expect(reading?.message == error?.message && reading?.kind == .data)
        #expect(try run.folder.names() == ["run", "run.cfg", "train.bin", "validation.bin"])
    }

    @Test("A wish to stop while the data is checked ends the start")
    func cancelledStart() throws {
        let run = try TinyRun()
        let cancellation = CancellationFlag()
        cancellation.request()
        #expect(throws: CancellationError.self) {
            _ = try RunSetup(run.configuration([]), cancellation: cancellation)
        }
        #expect(!FileManager.default.fileExists(atPath: run.folder.file("run")))
    }

    @Test("Settings that change none, such as threads and output, are free")
    func free() throws {
        let run = try TinyRun()
        try run.train("straight")
        try stopEarly(run)
        try run.train(
            "run", "training.threads=1", "output.checkpoint_every=1", "output.keep_checkpoints=1", purpose: .resume)
        try run.expectEqual("straight", "run")
        #expect(try run.folder.names("run/checkpoints") == ["latest", "step-00000012"])
    }

    @Test("A constant schedule can be extended, and is then the longer run")
    func extended() throws {
        let run = try TinyRun()
        let schedule = "schedule={name: constant, warmup: 2}"
        try run.train("straight", schedule, "training.steps=12", "evaluation.every=0")
        try run.train("run", schedule, "training.steps=6", "evaluation.every=0")
        try run.train("run", schedule, "training.steps=12", "evaluation.every=0", purpose: .resume)
        #expect(try run.tensors("straight") == run.tensors("run"))
        let shortened = #expect(throws: UserError.self) {
            try run.train("run", schedule, "training.steps=3", "evaluation.every=0", purpose: .resume)
        }
        #expect(shortened?.message.contains("has made 12 steps, more than the 3 asked for") == true)
    }

    @Test("The optimizer's state can be given up, and its settings changed")
    func resetOptimizer() throws {
        let run = try TinyRun()
        try stopEarly(run)
        try run.train("run", "optimizer.lr=0.02", purpose: .resume, resetOptimizer: true)
        #expect(try run.log().count == 12)
        #expect(try Double(run.log()[11][5]) ?? 0 > 1e-3)
        try run.train("straight")
        #expect(try run.log()[..<5] == run.log("straight")[..<5])
        #expect(try run.log()[11] != run.log("straight")[11])
    }

    @Test("Another optimizer is refused with the way out, which then works")
    func otherOptimizer() throws {
        let run = try TinyRun()
        try stopEarly(run)
        let muon = "optimizer={name: muon, lr: 0.01}"
        let error = #expect(throws: UserError.self) { try run.train("run", muon, purpose: .resume) }
        #expect(error?.message.contains("optimizer.name was adamw and is now muon") == true, "\(error?.message ?? "")")
        #expect(error?.hint?.contains("--reset-optimizer") == true)
        try run.train("run", muon, purpose: .resume, resetOptimizer: true)
        #expect(try run.log().count == 12)
        // From here on the run is one of Muon's, whose steps are counted from the change.
        let whole = try run.tensors()
        try FileManager.default.removeItem(atPath: run.folder.file("run/checkpoints/step-00000012"))
        try run.train("run", muon, purpose: .resume)
        #expect(try run.log().count == 12)
        #expect(try run.tensors() == whole)
    }

    @Test("Other data of the same path is refused")
    func otherData() throws {
        let run = try TinyRun()
        try stopEarly(run)
        try writeShard(learnableTokens(5_000, vocabulary: 32, seed: 3), to: run.folder.file("train.bin"))
        let error = #expect(throws: UserError.self) { try run.train(purpose: .resume) }
        #expect(
            error?.message.contains("has 312 windows, but 250 when the run began") == true, "\(error?.message ?? "")")
    }

    @Test("What is wrong with the data shows before the run's folder is made")
    func badData() throws {
        let run = try TinyRun()
        #expect(throws: UserError.self) { try run.train("run", "data.train=\(run.folder.file("none"))") }
        #expect(throws: UserError.self) { try run.train("run", "data.tokenizer=\(run.folder.file("train.bin"))") }
        #expect(throws: UserError.self) { try run.train("run", "model.vocab_size=16") }
        #expect(!FileManager.default.fileExists(atPath: run.folder.file("run")))
    }
}
