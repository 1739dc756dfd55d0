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

    @Test(
        "A run stopped again and again, in steps and validations, ends in the same bits",
        arguments: ["{steps: 8}"]
            + [0, 1].map { "{steps: 8, micro_batch_size: 8, layerwise_updates: true, gradient_clip: \($0)}" })
    func stopped(training: String) throws {
        let run = try TinyRun()
        let settings = ["training=\(training)", "evaluation.every=1", "evaluation.tokens=1000"]
        let whole = CountingFlag()
        try run.train("straight", settings[0], settings[1], settings[2], cancellation: whole)
        var (inSteps, inValidations) = (0, 0)
        var isFinished = false
        var purpose = RunDirectory.Purpose.new
        // Stops ever later, so that they fall everywhere, until the run gets through.
        for part in 1...100 where !isFinished {
            let outcome = try run.train(
                "stopped", settings[0], settings[1], settings[2], purpose: purpose,
                cancellation: CountingFlag(limit: part * whole.looks / 50))
            purpose = .resume
            switch outcome {
            case .finished: isFinished = true
            case .stopped(let step):
                let path = run.folder.file("stopped/checkpoints/step-0000000\(step)")
                if try Checkpoint(verifying: path).state.pendingRow == nil { inSteps += 1 } else { inValidations += 1 }
            }
        }
        #expect(isFinished && inSteps > 0 && inValidations > 0, "\(inSteps), \(inValidations)")
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
}
