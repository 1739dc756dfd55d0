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

@Suite("Trainer")
struct TrainerTests {
    @Test("A run learns, logs every step, validates and checkpoints when it is time")
    func learns() throws {
        let run = try TinyRun()
        try run.train("run", "training.steps=60", "evaluation.every=20", "output.checkpoint_every=25")
        let rows = try run.log()
        #expect(rows.map { $0[0] } == (1...60).map(String.init))
        #expect(rows.map { $0[1] } == (1...60).map { String($0 * 128) })
        #expect(rows.filter { !$0[3].isEmpty }.map { $0[0] } == ["20", "40", "60"])
        let losses = rows.compactMap { Double($0[2]) }
        #expect(abs(losses[0] - log(32.0)) < 0.05)
        let validation = try #require(Double(rows[59][3]))
        // The entropy of the source is 1.19 nats, that of the tokens' frequencies 3.47.
        #expect(validation < 2.2 && validation > 1.1, "\(validation)")
        #expect(Double(rows[59][4]) == exp(validation))
        #expect(
            try run.folder.names("run/checkpoints") == ["latest", "step-00000025", "step-00000050", "step-00000060"])
        let resolved = try RunConfiguration(file: run.folder.file("run/config.resolved.cfg"))
        #expect(resolved.training.steps == 60)
    }

    @Test("Learning rates are the schedule's and gradients are clipped to the norm")
    func learningRates() throws {
        let run = try TinyRun()
        try run.train()
        let configuration = try run.configuration([])
        for (step, row) in try run.log().enumerated() {
            #expect(Double(row[5]) == 1e-2 * configuration.schedule.factor(step: step, of: 12))
        }
        // Adam does not see the gradient's size, but clipping changes how much each step counts.
        try run.train("clipped", "training.gradient_clip=0.01")
        #expect(try run.log("clipped")[0] == run.log()[0])
        #expect(try run.log("clipped")[5] != run.log()[5])
    }

    @Test("A run stopped again and again, in steps and validations, ends in the same bits")
    func stopped() throws {
        let run = try TinyRun()
        try run.train("straight", "training.steps=8", "evaluation.every=1", "evaluation.tokens=1000")
        var stops = 0
        var isFinished = false
        var purpose = RunDirectory.Purpose.new
        // Stops ever later, so that they fall everywhere, until the run gets through: on a busy machine, too.
        for attempt in 0..<400 where !isFinished {
            let cancellation = CancellationFlag()
            let timer = Thread {
                usleep(UInt32(200 * attempt + 10 * attempt * attempt))
                cancellation.request()
            }
            timer.start()
            let outcome = try run.train(
                "stopped", "training.steps=8", "evaluation.every=1", "evaluation.tokens=1000", purpose: purpose,
                cancellation: cancellation)
            purpose = .resume
            if case .finished = outcome { isFinished = true } else { stops += 1 }
        }
        #expect(isFinished && stops > 0)
        try run.expectEqual("straight", "stopped")
    }

    @Test("A run that lost what came after a checkpoint makes it again, to the bit")
    func killed() throws {
        let run = try TinyRun()
        try run.train("straight")
        try run.train("killed")
        // As a kill leaves it: the log is ahead of the newest whole checkpoint, its last row unfinished.
        let folder = run.folder
        for name in ["step-00000012", "step-00000010"] {
            try FileManager.default.removeItem(atPath: folder.file("killed/checkpoints/\(name)"))
        }
        try folder.write(folder.bytes("killed/log.csv").dropLast(9), "killed/log.csv")
        try run.train("killed", purpose: .resume)
        try run.expectEqual("straight", "killed")
        // Before the first checkpoint it begins anew.
        try FileManager.default.removeItem(atPath: folder.file("killed/checkpoints"))
        try run.train("killed", purpose: .resume)
        try run.expectEqual("straight", "killed")
    }

    @Test(
        "With every optimizer, in the middle of its periods too, resume and threads change no bit",
        arguments: optimizers.map { "optimizer={name: \($0.name), lr: 5.0e-3}" } + [
            "optimizer={name: galore, lr: 5.0e-3, rank: 4, update_proj_gap: 4}",
            "optimizer={name: galore, lr: 5.0e-3, rank: 4, update_proj_gap: 3, stagger: true}",
            "optimizer={name: soap, lr: 5.0e-3, precondition_frequency: 3, stagger: true}",
        ] + (BFloat16Library.isSupportedByCPU ? ["training.precision=bf16"] : []))
    func everyOptimizer(assignment: String) throws {
        let run = try TinyRun()
        try run.train("straight", assignment)
        try run.train("resumed", assignment, "training.threads=1")
        try run.expectEqual("straight", "resumed")
        for name in ["step-00000012", "step-00000010"] {
            try FileManager.default.removeItem(atPath: run.folder.file("resumed/checkpoints/\(name)"))
        }
        try run.train("resumed", assignment, purpose: .resume)
        try run.expectEqual("straight", "resumed")
    }

    @Test("A limit that was measured too low is measured again, and never below what was done")
    func mfu() throws {
        let run = try TinyRun()
        let setup = try RunSetup(
            run.configuration(["output.run_dir=\(run.folder.file("run"))"]), status: run.silentStatus())
        let share = setup.mfu(of: 1e6)
        #expect(share > 0 && share < 0.1)
        #expect(setup.mfu(of: 1e18) == 1)
        #expect(setup.mfu(of: 5e17) == 0.5)
    }

    @Test("Any number of threads gives the same bits", arguments: [1, 3])
    func threads(count: Int) throws {
        let run = try TinyRun()
        try run.train("two")
        try run.train("other", "training.threads=\(count)")
        try run.expectEqual("two", "other")
    }

    @Test("A batch weighs each token the same, however it is cut", arguments: [1, 3, 8])
    func microBatches(size: Int) throws {
        let run = try TinyRun()
        try run.train("four")
        try run.train("other", "training.micro_batch_size=\(size)")
        for (a, b) in zip(try run.log("four"), try run.log("other")) {
            let (x, y) = (try #require(Double(a[2])), try #require(Double(b[2])))
            #expect(abs(x - y) < 2e-5 * x, "step \(a[0]): \(x) and \(y)")
        }
    }

    /// Key and value matrices have no more rows than COSMOS's rank: the first gradient leaves no residual but rounding.
    @Test("COSMOS makes the same updates however a batch is cut, where its rank holds a whole gradient")
    func microBatchesOfCOSMOS() throws {
        let run = try TinyRun()
        // As many words as give gradients of full rank.
        try writeShard(learnableTokens(6_001, vocabulary: 500, seed: 1), to: run.folder.file("train.bin"))
        func updates(microBatch: Int) throws -> [[Float]] {
            let setup = try RunSetup(
                run.configuration([
                    "output.run_dir=\(run.folder.file("micro \(microBatch)"))", "optimizer={name: cosmos, rank: 64}",
                    "model={hidden_size: 128, intermediate_size: 96, num_attention_heads: 4, num_key_value_heads: 2}",
                    "model={vocab_size: 500, max_position_embeddings: 64}", "data.sequence_length=64",
                    "data.validation=null", "training={steps: 2, micro_batch_size: \(microBatch)}",
                ]), status: run.silentStatus())
            let parameters = setup.model.parameters.filter { $0.name.contains("k_proj") || $0.name.contains("v_proj") }
            #expect(parameters.count == 4 && parameters.allSatisfy { $0.shape == [64, 128] })
            let start = parameters.map { Array($0.weight.elements) }
            _ = try Trainer(setup, cancellation: CancellationFlag()).run()
            return zip(parameters, start).map { zip($0.weight.elements, $1).map(-) }
        }
        for (two, eight) in zip(try updates(microBatch: 2), try updates(microBatch: 8)) {
            let difference = zip(two, eight).reduce(0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
            let size = two.reduce(0) { $0 + Double($1 * $1) }
            #expect((difference / size).squareRoot() < 0.01, "\((difference / size).squareRoot())")
        }
    }

    @Test("The seeds of weights and data are apart")
    func seeds() throws {
        let run = try TinyRun()
        try run.train("run", "training.steps=3")
        try run.train("weights", "training.steps=3", "training.seed=2")
        try run.train("data", "training.steps=3", "data.seed=2")
        let first = try ["run", "weights", "data"].map { try run.log($0)[0][2] }
        #expect(Set(first).count == 3)
    }

    @Test("Old checkpoints go, the newest stay")
    func retention() throws {
        let run = try TinyRun()
        try run.train("run", "output.checkpoint_every=2", "output.keep_checkpoints=2")
        #expect(try run.folder.names("run/checkpoints") == ["latest", "step-00000010", "step-00000012"])
    }

    @Test("The last checkpoint before the decay of wsd is made and stays")
    func checkpointBeforeTheDecay() throws {
        let run = try TinyRun()
        try run.train(
            "run", "schedule={name: wsd, warmup: 2, decay: 5}", "output.checkpoint_every=4", "output.keep_checkpoints=1"
        )
        #expect(try run.folder.names("run/checkpoints") == ["latest", "step-00000007", "step-00000012"])
    }

    @Test("Time alone can make a checkpoint due")
    func checkpointByTime() throws {
        let run = try TinyRun()
        try run.train(
            "run", "training.steps=3", "output.checkpoint_every=0", "output.checkpoint_minutes=1.0e-9")
        #expect(
            try run.folder.names("run/checkpoints") == ["latest", "step-00000001", "step-00000002", "step-00000003"])
    }

    @Test("Numbers that fail stop the run with tensor, step and the last good checkpoint")
    func numericalFailure() throws {
        let run = try TinyRun()
        let error = #expect(throws: RunFailure.self) {
            try run.train("run", "optimizer.lr=1.0e+38", "schedule={name: constant, warmup: 3}")
        }
        let failure = try #require(error)
        #expect(failure.step >= 2)
        let kept = try #require(failure.checkpoint)
        #expect(failure.description.hasPrefix("error: step \(failure.step): "))
        #expect(failure.description.contains("is not finite") && failure.description.contains(kept))
        // What is kept is good, and the log tells of the failure.
        let checkpoint = try Checkpoint(verifying: kept)
        #expect(checkpoint.state.step == 0)
        #expect(failure.aside?.hasSuffix("/aside-0000000\(failure.step - 1)") == true)
        #expect(try run.folder.text("run/train.log").contains("step \(failure.step): "))
    }

    @Test("A run that fails removes no checkpoint made before, and --resume takes that")
    func failureAfterACheckpoint() throws {
        let run = try TinyRun()
        let constant = "schedule={name: constant, warmup: 0}"
        try run.train("run", constant, "training.steps=6", "output.checkpoint_every=6")
        let good = try run.tensors()
        // The weights explode at once, and for some steps all numbers remain finite.
        let exploding = ["optimizer.lr=1.0e+18", constant, "output.keep_checkpoints=1", "output.checkpoint_every=1"]
        let error = #expect(throws: RunFailure.self) {
            try run.train(
                "run", exploding[0], exploding[1], exploding[2], exploding[3], purpose: .resume, resetOptimizer: true)
        }
        let folder = run.folder.file("run/checkpoints")
        #expect(error?.checkpoint == folder + "/step-00000006")
        let names = try run.folder.names("run/checkpoints")
        #expect(names.suffix(2) == ["latest", "step-00000006"] && names.count > 2, "\(names)")
        #expect(names.dropLast(2).allSatisfy { $0.hasPrefix("aside-") && $0 > "aside-00000006" })
        #expect(try run.tensors() == good)
        // From there it goes on as if nothing had happened; what is aside can be chosen.
        for name in ["run", "straight"] {
            if name == "straight" { try run.train(name, constant, "training.steps=6") }
            try run.train(name, constant, "output.checkpoint_every=12", purpose: .resume, resetOptimizer: true)
        }
        try run.expectEqual("straight", "run")
        let step = try #require(error?.step) - 1
        #expect(error?.aside == "\(folder)/aside-\(String(format: "%08ld", step))")
        #expect(throws: RunFailure.self) {
            try run.train("run", exploding[0], constant, purpose: .resume, resetOptimizer: true, step: step)
        }
    }

    @Test("A checkpoint is deleted when a later one has been seen to be sound")
    func unsoundCheckpoints() throws {
        let run = try TinyRun()
        // Finite all the way, and far worse than knowing nothing.
        let bad = ["optimizer.lr=10", "schedule={name: constant, warmup: 0}", "output.keep_checkpoints=1"]
        try run.train("run", bad[0], bad[1], bad[2], "output.checkpoint_every=3", "training.steps=7")
        let losses = try run.log().compactMap { Double($0[2]) }
        #expect(losses[0] < 1.5 * log(32.0) && losses.dropFirst().allSatisfy { $0 > 1.5 * log(32.0) }, "\(losses)")
        #expect(try run.folder.names("run/checkpoints") == ["latest", "step-00000007"])

        try run.train("other", bad[1], "output.checkpoint_every=6", "training.steps=6")
        try run.train(
            "other", bad[0], bad[1], bad[2], "output.checkpoint_every=1", purpose: .resume, resetOptimizer: true)
        #expect(try run.folder.names("other/checkpoints") == ["latest", "step-00000006", "step-00000012"])
    }

    @Test("A model that no step can change any more is a failure", arguments: ["muon", "cosmos"])
    func deadRun(optimizer: String) throws {
        let run = try TinyRun()
        let error = #expect(throws: RunFailure.self) {
            try run.train("run", "optimizer={name: \(optimizer), lr: 1.0e+6}", "training.steps=60")
        }
        #expect(
            error?.description.contains("gradient: is exactly 0 though the loss is 3.") == true,
            "\(error?.description ?? "")")
    }

    @Test("A shard that is cut or changed during a run ends it in good order, and the run goes on once it is back")
    func changedShard() throws {
        let run = try TinyRun()
        try run.train("straight")
        let shard = run.folder.file("train.bin")
        let whole = try run.folder.bytes("train.bin")
        var purpose = RunDirectory.Purpose.new
        for damage in ["cut", "ids", "tokens"] {
            let setup = try RunSetup(
                run.configuration(["output.run_dir=\(run.folder.file("run"))"]), purpose: purpose,
                status: run.silentStatus())
            purpose = .resume
            // In place, as another process would write it.
            let file = try FileHandle(forUpdating: URL(filePath: shard))
            var bytes = whole
            switch damage {
            case "cut": try file.truncate(atOffset: 1100)
            case "ids": for index in 1024..<bytes.count { bytes[index] = 0xff }
            default: bytes.swapAt(1026, 1028)
            }
            if damage != "cut" { try file.write(contentsOf: bytes) }
            let error = #expect(throws: UserError.self) {
                _ = try Trainer(setup, cancellation: CancellationFlag()).run()
            }
            #expect(error?.kind == .data)
            #expect(error?.message.hasPrefix(shard) == true)
            #expect(
                error?.message.contains(damage == "cut" ? "ends at byte" : "offset") == true, "\(error?.message ?? "")")
            try file.seek(toOffset: 0)
            try file.write(contentsOf: whole)
        }
        try run.train(purpose: .resume)
        try run.expectEqual("straight", "run")
    }

    @Test("An optimizer that fails in the first step leaves the state that the run began with")
    func failureInTheFirstStep() throws {
        let run = try TinyRun()
        let failing = ["optimizer={name: muon, lr: 3.0e+38}", "schedule={name: constant, warmup: 0}"]
        let error = #expect(throws: RunFailure.self) { try run.train("run", failing[0], failing[1]) }
        #expect(error?.step == 1)
        let checkpoint = try Checkpoint(verifying: try #require(error?.checkpoint))
        #expect(checkpoint.state.step == 0)
        // From there a lower learning rate gives what it would have given from the beginning.
        let settings = ["optimizer={name: muon, lr: 1.0e-2}", failing[1]]
        try run.train("run", settings[0], settings[1], purpose: .resume, resetOptimizer: true)
        try run.train("straight", settings[0], settings[1])
        try run.expectEqual("straight", "run")
    }
}

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

@Suite("Evaluator")
struct EvaluatorTests {
    @Test("The loss is the exact mean over the targets, however they are cut", arguments: [1, 4, 7])
    func exactMean(microBatchSize: Int) throws {
        let run = try TinyRun()
        let dataset = try TokenDataset(
            path: run.folder.file("validation.bin"), sequenceLength: 16, vocabularySize: 32)
        let pool = WorkerPool(threads: 1)
        let model = LLaMA(
            config: try run.configuration([]).model, pool: pool, microBatchSize: microBatchSize, sequenceLength: 16)
        model.initialize(seed: 1)
        let evaluator = Evaluator(model: model, dataset: dataset, tokens: nil, microBatchSize: microBatchSize)
        #expect(evaluator.tokenCount == 62 * 16)

        var expected = 0.0
        for window in 0..<62 {
            var (tokens, targets) = ([Int32](repeating: 0, count: 16), [Int32](repeating: 0, count: 16))
            try tokens.withUnsafeMutableBufferPointer { tokens in
                try targets.withUnsafeMutableBufferPointer { try dataset.window(window, tokens: tokens, targets: $0) }
            }
            expected += try model.evaluateLoss(TokenBatch(tokens: tokens, targets: targets, sequences: 1)).sum
        }
        let loss = try evaluator.loss()
        #expect(loss.count == 62 * 16)
        #expect(abs(loss.sum - expected) < 1e-6 * expected)
    }

    @Test("Fewer tokens are whole windows spread over the data, the same ones each time")
    func subset() throws {
        let run = try TinyRun()
        let dataset = try TokenDataset(
            path: run.folder.file("validation.bin"), sequenceLength: 16, vocabularySize: 32)
        let model = LLaMA(
            config: try run.configuration([]).model, pool: WorkerPool(threads: 1), microBatchSize: 4, sequenceLength: 16
        )
        model.initialize(seed: 1)
        let evaluator = Evaluator(model: model, dataset: dataset, tokens: 100, microBatchSize: 4)
        #expect(evaluator.tokenCount == 112)
        #expect(try evaluator.loss().sum == evaluator.loss().sum)
        let more = Evaluator(model: model, dataset: dataset, tokens: 1 << 40, microBatchSize: 4)
        #expect(more.tokenCount == 62 * 16)

        // Two windows of four stand for both halves of the data.
        try writeShard(
            [UInt16](repeating: 1, count: 33) + [UInt16](repeating: 2, count: 32), to: run.folder.file("a.bin"))
        let halves = try TokenDataset(path: run.folder.file("a.bin"), sequenceLength: 16, vocabularySize: 32)
        let spread = Evaluator(model: model, dataset: halves, tokens: 32, microBatchSize: 4)
        #expect(try abs(spread.unigramEntropy() - log(2)) < 1e-12)
    }

    @Test("The unigram entropy is that of the targets' frequencies")
    func entropy() throws {
        let folder = try TemporaryFolder()
        // Targets: three times 1, once 0 in every window of four.
        try writeShard([0] + [1, 1, 1, 0, 1, 1, 1, 0], to: folder.file("a.bin"))
        let dataset = try TokenDataset(path: folder.file("a.bin"), sequenceLength: 4, vocabularySize: 32)
        let model = LLaMA(
            config: try TinyRun().configuration([]).model, pool: WorkerPool(threads: 1), microBatchSize: 1,
            sequenceLength: 4)
        let entropy = try Evaluator(model: model, dataset: dataset, tokens: nil, microBatchSize: 1).unigramEntropy()
        #expect(abs(entropy + 0.75 * log(0.75) + 0.25 * log(0.25)) < 1e-12)
    }
}
