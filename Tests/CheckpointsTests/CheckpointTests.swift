import Checkpoints
import Console
import Foundation
import LLaMA
import TensorCore
import TestSupport
import Testing
import TokenData

/// A tiny model's state, all values drawn from `seed`.
private struct Fixture {
    let config = smallConfig()
    let parameters: [Parameter]
    let optimizerTensors: [NamedTensor]

    init(seed: UInt64) {
        var random = Random(seed: seed, stream: "checkpoint test")
        parameters = [
            Parameter(name: "model.embed_tokens.weight", shape: [101, 48], role: .embedding),
            Parameter(name: "model.norm.weight", shape: [48], role: .vector),
        ]
        optimizerTensors = [
            NamedTensor("model.norm.weight.exp_avg", Tensor(48)), NamedTensor("model.norm.weight.p", Tensor(2, 3)),
        ]
        for tensor in parameters.map(\.weight) + optimizerTensors.map(\.tensor) {
            for i in 0..<tensor.count { tensor.data[i] = Float(random.uniform()) }
        }
    }

    func contents(step: Int, tokens: Int? = nil, epoch: Int = 1) -> Checkpoint.Contents {
        .init(
            config: config, parameters: parameters, optimizerTensors: optimizerTensors, tokenizer: nil,
            state: TrainerState(
                step: step, tokens: tokens ?? 1024 * step,
                data: .init(
                    windowCount: 99, contentFingerprint: 0xdead_beef, tokenizerFingerprint: .max,
                    position: .init(epoch: epoch, index: 2)),
                optimizer: .init(name: "adamw", counters: ["step": step]), run: Self.run))
    }

    static let run = TrainerState.RunIdentity(name: "test")

    func equals(_ other: Fixture) -> Bool {
        zip(tensors, other.tensors).allSatisfy { memcmp($0.data, $1.data, $0.byteCount) == 0 }
    }

    private var tensors: [Tensor<Float>] { parameters.map(\.weight) + optimizerTensors.map(\.tensor) }
}

@Suite struct CheckpointTests {
    private let folder: TemporaryFolder
    private let store: CheckpointStore
    private let pool = WorkerPool(threads: testWorkers)
    private let saved = Fixture(seed: 1)

    init() throws {
        folder = try TemporaryFolder()
        store = CheckpointStore(folder: folder.path, pool: pool)
    }

    private func newest() throws -> (checkpoint: Checkpoint?, warnings: [String]) {
        var warnings: [String] = []
        return (try store.newestGood { warnings.append($0) }, warnings)
    }

    private func save(_ step: Int, keep: Int) throws {
        try store.save(saved.contents(step: step))
        try store.removeOld(upTo: step, keep: keep)
    }

    /// As a run does that keeps one checkpoint and goes on while it is read.
    @Test func aCheckpointThatIsRemovedMeanwhileHasASuccessor() throws {
        try save(1, keep: 1)
        unlink(store.path(step: 1) + "/MANIFEST.json")
        var warnings = 0
        let found = try store.newestGood { _ in
            warnings += 1
            try? save(2, keep: 1)
        }
        #expect(found?.state.step == 2 && warnings == 1)
    }

    @Test func everythingComesBackBitForBit() throws {
        #expect(saved.contents(step: 1000).byteCount == 4 * (101 * 48 + 48 + 48 + 2 * 3))
        try store.save(saved.contents(step: 1000))
        #expect(
            try folder.names("step-00001000") == [
                "MANIFEST.json", "config.json", "model.safetensors", "optimizer.safetensors", "trainer.json",
            ])
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.file("latest")) == "step-00001000")

        let checkpoint = try #require(try newest().checkpoint)
        #expect(checkpoint.state == saved.contents(step: 1000).state)
        let loaded = Fixture(seed: 2)
        #expect(!loaded.equals(saved))
        try checkpoint.loadWeights(into: loaded.parameters, config: loaded.config, on: pool)
        try checkpoint.loadOptimizer("adamw", into: loaded.optimizerTensors, on: pool)
        #expect(loaded.equals(saved))
    }

    @Test func theNewestAreKeptAndNothingElseIsLeft() throws {
        for step in [5, 10, 15, 20] { try save(step, keep: 2) }
        #expect(try folder.names() == ["latest", "step-00000015", "step-00000020"])
        #expect(try store.steps() == [15, 20])
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.file("latest")) == "step-00000020")
        // Saved again, as when a run is stopped right after a checkpoint.
        try save(20, keep: 1)
        #expect(try folder.names() == ["latest", "step-00000020"])
        #expect(try newest().checkpoint?.state.step == 20)
        // Only the program's own names are of checkpoints.
        for name in ["step-25", "step-00000030.old", "aside-00000035"] {
            try FileManager.default.copyItem(atPath: store.path(step: 20), toPath: folder.file(name))
        }
        #expect(try store.steps() == [20])
    }

    @Test func aCheckpointThatFindsNoRoomIsNotBegun() throws {
        var contents = saved.contents(step: 1)
        contents.parameters = withoutMemory { [Parameter(name: "large", shape: [1 << 28, 1 << 28], role: .lmHead)] }
        let error = #expect(throws: UserError.self) { try store.save(contents) }
        #expect(error?.kind == .inputOutput)
        #expect(error?.message.hasPrefix("no room for a checkpoint in \(folder.path): it takes ") == true)
        #expect(try folder.names() == [])
    }

    /// A later, damaged checkpoint does not count among those to keep, or a resumed run would delete its
    /// own.
    @Test func laterOnesAreLeftAlone() throws {
        try save(100, keep: 2)
        for step in [10, 20, 30] { try save(step, keep: 2) }
        #expect(try store.steps() == [20, 30, 100])
    }

    @Test func anEmptyFolderHasNone() throws {
        #expect(try newest().checkpoint == nil)
        #expect(try CheckpointStore(folder: folder.file("no")).newestGood(warn: { _ in }) == nil)
    }

    /// Cut, changed, or gone: each file's damage is seen, named, and passed over.
    @Test(arguments: ["config.json", "model.safetensors", "optimizer.safetensors", "trainer.json", "MANIFEST.json"])
    func aDamagedNewestFallsBackToTheOneBefore(_ name: String) throws {
        try store.save(saved.contents(step: 1))
        try store.save(saved.contents(step: 2))
        let file = "step-00000002/\(name)"
        let good = try folder.bytes(file)
        var changed = good
        changed[good.count / 2] ^= 1
        for damaged in [Array(good.dropLast(4)), changed, good + [10], [], nil] {
            if let damaged { try folder.write(damaged, file) } else { unlink(folder.file(file)) }
            if name == "MANIFEST.json", damaged == good + [10] { continue }
            let (checkpoint, warnings) = try newest()
            #expect(checkpoint?.state.step == 1)
            #expect(warnings.count == 1)
            #expect(warnings.first?.contains("step-00000002") == true)
        }
    }

    /// Files are read a megabyte at a time.
    @Test func damageAnywhereInALargeFileIsSeen() throws {
        var contents = saved.contents(step: 1)
        contents.optimizerTensors = [NamedTensor("model.norm.weight.exp_avg", Tensor(700_000))]
        try store.save(contents)
        let good = try folder.bytes("step-00000001/optimizer.safetensors")
        _ = try Checkpoint(verifying: store.path(step: 1))
        for place in [1 << 20 - 1, 1 << 20, 2 << 20, good.count - 1] {
            var changed = good
            changed[place] ^= 1
            try folder.write(changed, "step-00000001/optimizer.safetensors")
            #expect(throws: UserError.self, "\(place)") { try Checkpoint(verifying: store.path(step: 1)) }
        }
    }

    @Test func numbersThatWouldOverflowAreDamage() throws {
        try store.save(saved.contents(step: 1))
        try store.save(saved.contents(step: 2, tokens: .max))
        try store.save(saved.contents(step: 3, epoch: .max))
        let (checkpoint, warnings) = try newest()
        #expect(checkpoint?.state.step == 1)
        #expect(warnings.first?.contains("data.position.epoch is 9223372036854775807") == true, "\(warnings)")
        #expect(warnings.last?.contains("trainer.json: tokens is 9223372036854775807") == true, "\(warnings)")
    }

    @Test func aStateThatContradictsItselfIsDamage() throws {
        try store.save(saved.contents(step: 1))
        func row(_ step: Int) -> LogRow {
            LogRow(
                step: step, tokens: 1, trainLoss: 1, learningRate: 1, gradientNorm: 1, stepSeconds: 1,
                tokensPerSecond: 1, flopsPerSecond: 1, mfu: 1, phases: StepPhases())
        }
        let damages: [(String, (inout TrainerState) -> Void)] = [
            ("pendingRow.step is 2, at step 3", { $0.pendingRow = row(2) }),
            ("optimizer.counters.step is 4, at step 3", { $0.optimizer.counters["step"] = 4 }),
            ("optimizer.counters.step is -1, at step 3", { $0.optimizer.counters["step"] = -1 }),
            ("data.position.index is 99, of 99 windows", { $0.data.position.index = 99 }),
        ]
        for (message, damage) in damages {
            var contents = saved.contents(step: 3)
            contents.state.pendingRow = row(3)
            try store.save(contents)
            #expect(try newest().checkpoint?.state.step == 3)
            damage(&contents.state)
            try store.save(contents)
            let (checkpoint, warnings) = try newest()
            #expect(checkpoint?.state.step == 1)
            #expect(warnings.first?.contains("trainer.json: \(message)") == true, "\(warnings)")
        }
    }

    @Test func aFolderThatWasRenamedIsNotOfItsStep() throws {
        try store.save(saved.contents(step: 1))
        try store.save(saved.contents(step: 2))
        rename(store.path(step: 2), store.path(step: 7))
        let (checkpoint, warnings) = try newest()
        #expect(checkpoint?.state.step == 1)
        #expect(warnings.first?.contains("step-00000007 is no good checkpoint: it is of step 2") == true, "\(warnings)")
    }

    @Test func onlyDamagedOnesAreAnError() throws {
        try store.save(saved.contents(step: 1))
        unlink(folder.file("step-00000001/model.safetensors"))
        let error = #expect(throws: UserError.self) { try newest() }
        #expect(error?.kind == .data)
        #expect(error?.message.contains("model.safetensors is missing") == true)
    }

    @Test func aManifestMayNotPointElsewhere() throws {
        try store.save(saved.contents(step: 1))
        let text = try folder.text("step-00000001/MANIFEST.json")
        try folder.write(
            text.replacingOccurrences(of: "trainer.json", with: "../trainer.json").utf8, "step-00000001/MANIFEST.json")
        #expect(throws: UserError.self) { try newest() }
    }

    @Test func anotherModelIsRefusedNamingWhatDiffers() throws {
        let checkpoint = try store.save(saved.contents(step: 1))
        var config = saved.config
        config.numHiddenLayers = 3
        config.ropeTheta = 10_000
        config.maxPositionEmbeddings = 1
        let error = #expect(throws: UserError.self) {
            try checkpoint.loadWeights(into: saved.parameters, config: config, on: pool)
        }
        #expect(error?.kind == .usage)
        #expect(
            error?.message == "\(checkpoint.path) holds another model: num_hidden_layers is 2 there and 3 here, "
                + "rope_theta is 500000.0 there and 10000.0 here")
    }

    @Test func aTensorMissingLeftOverOrOfAnotherShapeIsNamedAndNothingIsRead() throws {
        let checkpoint = try store.save(saved.contents(step: 1))
        func message(_ tensors: [NamedTensor]) -> String {
            let error = #expect(throws: UserError.self) {
                try checkpoint.loadOptimizer("adamw", into: tensors, on: pool)
            }
            #expect(error?.hint?.contains("--reset-optimizer") == true)
            return error?.message ?? ""
        }
        let first = NamedTensor("model.norm.weight.exp_avg", Tensor(48))
        #expect(message([first]).contains("model.norm.weight.p has no place"))
        #expect(message([first, .init("model.norm.weight.p", Tensor(3, 2))]).contains("has shape [2, 3], but [3, 2]"))
        #expect(message([first, .init("other", Tensor(1))]).contains("other is missing"))
        #expect((0..<48).allSatisfy { first.tensor.data[$0] == 0 })
    }

    @Test func anotherOptimizerIsRefusedWithTheWayOut() throws {
        let checkpoint = try store.save(saved.contents(step: 1))
        let error = #expect(throws: UserError.self) { try checkpoint.loadOptimizer("cosmos", into: [], on: pool) }
        #expect(error?.message.contains("with the optimizer adamw, the configuration says cosmos") == true)
        #expect(error?.hint?.contains("--reset-optimizer") == true)
    }
}
