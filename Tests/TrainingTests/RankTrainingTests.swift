import Checkpoints
import Console
import Foundation
import Machine
import Optimizers
import Planning
import Ranks
import Settings
import TensorCore
import TestSupport
import Testing
import Training

/// Ranks as threads, each with a model and a pool of its own.
@Suite("Training on ranks")
struct RankTrainingTests {
    private static let lanes = "training={gradient_lanes: 8, micro_batch_size: 1, threads: 1}"

    /// What each rank returned or threw.
    private func train(
        _ run: TinyRun, _ name: String, ranks count: Int, _ assignments: [String],
        purpose: RunDirectory.Purpose = .new, cancellations: [Int: CancellationFlag] = [:],
        differently: [Int: [String]] = [:]
    ) -> [Result<Trainer.Outcome, any Error>] {
        nonisolated(unsafe) let run = run
        return onRanks(count) { ranks in
            let configuration = try run.configuration(
                [Self.lanes, "output.run_dir=\(run.folder.file(name))"] + assignments
                    + (differently[ranks.rank] ?? []))
            let setup = try RunSetup(configuration, purpose: purpose, ranks: ranks, status: run.silentStatus())
            return try Trainer(setup, cancellation: cancellations[ranks.rank] ?? CancellationFlag()).run()
        }
    }

    private func finish(
        _ run: TinyRun, _ name: String, ranks count: Int, _ assignments: [String],
        purpose: RunDirectory.Purpose = .new
    ) throws {
        for result in train(run, name, ranks: count, assignments, purpose: purpose) {
            guard case .finished = try result.get() else { throw CancellationError() }
        }
    }

    private func removeLast(_ run: TinyRun, _ name: String) throws {
        for step in ["10", "12"] {
            try FileManager.default.removeItem(atPath: run.folder.file("\(name)/checkpoints/step-000000\(step)"))
        }
    }

    @Test(
        "Any number of ranks and threads gives the same bits, with every optimizer, and any resumes any other's run",
        arguments: optimizers.map { "optimizer={name: \($0.name), lr: 5.0e-3}" } + [
            "optimizer={name: galore, lr: 5.0e-3, rank: 4, update_proj_gap: 3, stagger: true}",
            "optimizer={name: soap, lr: 5.0e-3, precondition_frequency: 3, stagger: true}",
            "optimizer={name: cosmos, lr: 5.0e-3, rank: 4}",
        ] + (BFloat16Library.isSupportedByCPU ? ["training.precision=bf16"] : []))
    func bits(assignment: String) throws {
        let run = try TinyRun()
        try run.train("one", Self.lanes, assignment)
        for (ranks, threads) in [(1, 2), (2, 2), (4, 1), (8, 2)] {
            let name = "\(ranks) x \(threads)"
            try finish(run, name, ranks: ranks, [assignment, "training.threads=\(threads)"])
            try run.expectEqual("one", name)
            let state = try ["one", name].map {
                try Checkpoint(verifying: run.folder.file("\($0)/checkpoints/latest")).state
            }
            #expect(state[0].tokens == state[1].tokens && state[0].data == state[1].data)
            #expect(state[0].optimizer == state[1].optimizer)
        }
        for (name, ranks) in [("one", 4), ("2 x 2", 1), ("8 x 2", 2)] {
            try removeLast(run, name)
            try finish(run, name, ranks: ranks, [assignment], purpose: .resume)
            try run.expectEqual("4 x 1", name)
        }
    }

    /// Embedding and head are cut at 1,024 rows, where the blocks of the norm end, too. They and AdamW's matrices are
    /// exchanged, saved and read again in several chunks.
    @Test("Rows of embedding and head lie with several ranks, and the bits are the same", arguments: ["adamw", "soap"])
    func rows(optimizer: String) throws {
        let run = try TinyRun()
        let large = [
            "model={hidden_size: 256, intermediate_size: \(optimizer == "adamw" ? 4200 : 64), num_hidden_layers: 1}",
            "model.vocab_size=5000", "training={steps: 2, batch_size: 4, gradient_lanes: 4, micro_batch_size: 1}",
            "optimizer={name: \(optimizer)}", "output.checkpoint_every=1",
        ]
        let configuration = try run.configuration(large)
        let parameters = configuration.dryRun(pool: WorkerPool(threads: 1)).model.parameters
        let pieces = Ownership(configuration.optimizer, parameters: parameters, ranks: 4).pieces
        #expect(Dictionary(grouping: pieces, by: \.index).values.contains { $0.count > 2 })
        for piece in pieces where piece.parameter.role.isMatrix {
            #expect(piece.parameter.shape == parameters[piece.index].shape)
        }
        try finish(run, "one", ranks: 1, large)
        try finish(run, "four", ranks: 4, large)
        try run.expectEqual("one", "four")
        try FileManager.default.removeItem(atPath: run.folder.file("four/checkpoints/step-00000002"))
        try finish(run, "four", ranks: 2, large, purpose: .resume)
        try run.expectEqual("one", "four")
    }

    @Test("A wish of one rank stops all, with a checkpoint that goes on to the same bits", arguments: [0, 3])
    func stopped(by rank: Int) throws {
        let run = try TinyRun()
        try finish(run, "straight", ranks: 1, [])
        var stops = 0
        var purpose = RunDirectory.Purpose.new
        // Ever later, until the run gets through.
        for attempt in 0..<100 {
            let flag = CancellationFlag()
            let timer = Thread {
                usleep(UInt32(50_000 * (attempt + 1)))
                flag.request()
            }
            timer.start()
            let results = train(run, "stopped", ranks: 4, [], purpose: purpose, cancellations: [rank: flag])
            purpose = .resume
            let steps = try results.map { result -> Int? in
                if case .stopped(let step) = try result.get() { step } else { nil }
            }
            #expect(Set(steps).count == 1, "\(steps)")
            if steps[0] == nil { break }
            stops += 1
        }
        #expect(stops > 0)
        try run.expectEqual("straight", "stopped")
    }

    @Test("Numbers that fail on one rank end all, as they end one process")
    func numbers() throws {
        let run = try TinyRun()
        // One matrix alone, which one rank owns, becomes infinite.
        let failing = ["optimizer={name: muon, lr: 3.0e+38}", "schedule={name: constant, warmup: 0}"]
        func failures(_ name: String, ranks: Int) -> [RunFailure] {
            train(run, name, ranks: ranks, failing).compactMap {
                if case .failure(let error as RunFailure) = $0 { error } else { nil }
            }
        }
        let alone = try #require(failures("one", ranks: 1).first)
        let all = failures("four", ranks: 4)
        #expect(all.count == 4 && Set(all.map(\.error.what)) == [alone.error.what])
        #expect(all.allSatisfy { $0.step == 1 })
        let checkpoint = try Checkpoint(verifying: try #require(all[0].checkpoint))
        #expect(checkpoint.state.step == 0)
        #expect(
            try run.folder.bytes("one/checkpoints/latest/model.safetensors")
                == run.folder.bytes("four/checkpoints/latest/model.safetensors"))
    }

    @Test("A disk on which the first rank cannot write ends all with its message")
    func unwritable() throws {
        let run = try TinyRun()
        nonisolated(unsafe) let shared = run
        let errors = onRanks(2) { ranks in
            let setup = try RunSetup(
                shared.configuration([Self.lanes, "output.checkpoint_every=3"]), ranks: ranks,
                status: shared.silentStatus())
            if ranks.isFirst { try FileManager.default.removeItem(atPath: shared.folder.file("run/checkpoints")) }
            return try Trainer(setup, cancellation: CancellationFlag()).run()
        }.map { result in #expect(throws: UserError.self) { try result.get() } }
        #expect(errors[0]?.kind == .inputOutput && errors[0] == errors[1])
    }

    @Test("Ranks that cannot share a run, or would not compute the same, are refused with both values")
    func refused() throws {
        let run = try TinyRun()
        func error(ranks: Int, _ assignments: [String] = [], differently: [Int: [String]] = [:]) throws -> UserError {
            let errors = train(run, "run", ranks: ranks, assignments, differently: differently).map { result in
                #expect(throws: UserError.self) { try result.get() }
            }
            #expect(Set(errors.map { $0?.message }).count == 1 && !errors.contains(nil))
            return try #require(errors[0])
        }
        let lanes = try error(ranks: 4, ["training.gradient_lanes=2"])
        #expect(lanes.message == "4 ranks are no power of two that divides training.gradient_lanes, 2")
        #expect(lanes.hint?.contains("training.gradient_lanes=4 or a multiple") == true)
        let settings = try error(ranks: 4, differently: [2: ["optimizer.lr=0.5"]])
        #expect(
            settings.message.contains(/^rank 2 on \S+ has optimizer.lr 0.5, rank 0 on \S+ has 0.01:/),
            "\(settings.message)")
        // Nothing was begun.
        #expect(!FileManager.default.fileExists(atPath: run.folder.file("run")))
        let taken = run.folder.file("taken/log.csv")
        try FileManager.default.createDirectory(atPath: run.folder.file("taken"), withIntermediateDirectories: true)
        try Data().write(to: URL(filePath: taken))
        let folder = try error(ranks: 2, ["output.run_dir=\(run.folder.file("taken"))"])
        #expect(folder.message.hasSuffix("/taken already holds a run"))
    }

    @Test("Another program, library or other tokens are refused", arguments: ["commit", "OpenBLAS", "tokens"])
    func unlike(what: String) throws {
        nonisolated(unsafe) let run = try TinyRun()
        for result in onRanks(
            2,
            { ranks in
                var program = Provenance(commit: "c0ffee", threads: 1)
                let differs = ranks.rank == 1
                if what == "commit", differs { program.commit = "decade" }
                if what == "OpenBLAS" {
                    program.openBLAS = differs ? "0.3.21, kernels for Haswell" : "0.3.21, kernels for Zen"
                }
                try ranks.checkAlike(
                    try run.configuration([]), program, ["data.train": what == "tokens" && differs ? 0xbad : 0xfeed])
            })
        {
            let message = #expect(throws: UserError.self) { try result.get() }?.message ?? ""
            let (theirs, ours) =
                ["commit": ("decade", "c0ffee"), "tokens": ("bad", "feed")][what] ?? ("Haswell", "Zen")
            #expect(message.hasPrefix("rank 1 on ") && message.contains(theirs) && message.contains(ours), "\(message)")
        }
    }

    @Test("A rank plans the state that it owns, no copy of the gradient, and an exchange buffer")
    func memory() throws {
        let configuration = try RunConfiguration(
            file: repositoryRoot.appending(path: "configs/llama130m.cfg").path,
            assignments: ["training.gradient_lanes=4", "optimizer={name: soap}"])
        let pool = WorkerPool(threads: 1)
        let alone = try MemoryPlan(configuration, pool: pool, program: 0)
        let ranks = try (0..<4).map { try MemoryPlan(configuration, pool: pool, program: 0, rank: $0, ranks: 4) }
        #expect(ranks.reduce(0) { $0 + $1.stateBytes } == alone.stateBytes)
        #expect(ranks.allSatisfy { $0.stateBytes <= 760 << 20 }, "\(ranks.map { $0.stateBytes >> 20 })")
        for rank in ranks {
            #expect(rank.partialGradients == 0)
            let rest = rank.required - rank.stateBytes - rank.exchange - rank.optimizerScratch
            #expect(rest == alone.required - alone.stateBytes - alone.partialGradients - alone.optimizerScratch)
        }
    }
}
