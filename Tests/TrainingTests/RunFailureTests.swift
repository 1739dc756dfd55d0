import Checkpoints
import Configuration
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

@Suite("Failing runs")
struct RunFailureTests {
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

    /// Momentum; in the second step a parameter fails when it is updated, with all numbers finite.
    private struct Failing: OptimizerSettings {
        static let name = "failing"
        static let summary = "fails in the second step"
        static let citation = "none"
        static let stateFormula = "mn"
        static let settings: [Field<Self>] = [.init("lr", \.lr, "learning rate", .nonNegative)]
        var lr = 1e-2
        var weightDecay = 0.0
        var adam: AdamSettings?

        func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
            Rule(momentum: state.tensor("momentum", parameter.shape))
        }

        struct Rule: ElementwiseRule {
            let momentum: Tensor<Float>

            func step(_ elements: Elements, _ context: StepContext) throws {
                let lr = Float(context.learningRate)
                try elements.update(momentum) { g, _, m in
                    m = m + g
                    return lr * m
                }
                if context.step == 2 { throw NumericalFailure("has no decomposition") }
            }
        }
    }

    @Test("What an optimizer was at work on when it failed is of no step and is not set aside")
    func failureOfTheOptimizer() throws {
        let run = try TinyRun()
        var configuration = try run.configuration([])
        configuration.optimizer = OptimizerConfiguration(Failing())
        let setup = try RunSetup(configuration, status: run.silentStatus())
        let error = #expect(throws: RunFailure.self) {
            _ = try Trainer(setup, cancellation: CancellationFlag()).run()
        }
        #expect(error?.step == 2 && error?.aside == nil)
        #expect(error?.description.contains("has no decomposition") == true, "\(error?.description ?? "")")
        #expect(try run.folder.names("run/checkpoints") == ["latest", "step-00000000"])
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
