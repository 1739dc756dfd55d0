import Checkpoints
import Console
import Foundation
import Settings
import TestSupport
import Testing
import Training

/// `training.init_from`.
@Suite struct InitialWeightsTests {
    /// A configuration without a model section.
    private func withoutModel(_ run: TinyRun, _ folder: String) throws -> String {
        let text = try run.folder.text("run.cfg").replacingOccurrences(
            of: "model: \\{[^}]*\\}", with: "", options: .regularExpression)
        return try run.folder.write(
            text.replacingOccurrences(of: "training: {", with: "training: {init_from: \(folder), ").utf8, "from.cfg")
    }

    private func train(_ configuration: RunConfiguration, purpose: RunDirectory.Purpose = .new) throws -> RunSetup {
        try RunSetup(
            configuration, purpose: purpose,
            status: StatusLine(descriptor: open("/dev/null", O_WRONLY | O_CLOEXEC)))
    }

    @Test("A model of transformers is taken as it is, shape and weights, and written back bit for bit")
    func pretrained() throws {
        let run = try TinyRun()
        let source = "\(PretrainedModel.fixtures)/\(PretrainedModel.sharded)"
        let configuration = try RunConfiguration(
            file: withoutModel(run, source), assignments: ["optimizer.lr=0", "training.steps=1", "schedule.warmup=0"])
        #expect(configuration.model == (try ModelFolder(source).config))
        _ = try Trainer(train(configuration), cancellation: .init()).run()
        let folder = try ModelFolder(run.folder.file("run"))
        #expect(
            try PretrainedModel.difference(of: folder, from: PretrainedModel.sharded)
                == PretrainedModel.difference(of: ModelFolder(source), from: PretrainedModel.sharded))
        let log = try run.folder.text("run/train.log")
        #expect(log.contains("of \(source)"))
    }

    @Test("A run of one's own goes on as another run; killed before its first checkpoint, it begins there again")
    func ownRun() throws {
        let run = try TinyRun()
        try run.train("first")
        let from = run.folder.file("first")
        try run.train("second", "training.init_from=\(from)", "optimizer.lr=0", "training.steps=2")
        #expect(
            try run.folder.bytes("second/checkpoints/latest/model.safetensors")
                == run.folder.bytes("first/checkpoints/latest/model.safetensors"))

        try run.train("third", "training.init_from=\(from)")
        try run.train("killed", "training.init_from=\(from)")
        try FileManager.default.removeItem(atPath: run.folder.file("killed/checkpoints"))
        try run.train("killed", "training.init_from=\(from)", purpose: .resume)
        try run.expectEqual("third", "killed")
        // What a resumed run needs is in its checkpoints.
        try FileManager.default.removeItem(atPath: run.folder.file("first"))
        try run.train("third", "training.init_from=\(from)", purpose: .resume)
        try run.expectEqual("third", "killed")
    }

    @Test("A model section that differs is refused with the settings and both values, before anything is written")
    func otherModel() throws {
        let run = try TinyRun()
        let source = "\(PretrainedModel.fixtures)/\(PretrainedModel.sharded)"
        let error = #expect(throws: UserError.self) { try run.train("run", "training.init_from=\(source)") }
        #expect(error?.kind == .usage)
        for words in [
            "hidden_size is 32 there and 16 here", "rope_theta is 50000", "tie_word_embeddings is true there",
        ] {
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
        #expect(error?.message.contains("max_position_embeddings") == false)
        #expect(!FileManager.default.fileExists(atPath: run.folder.file("run")))
        let nowhere = #expect(throws: UserError.self) { try run.train("run", "training.init_from=/nowhere") }
        #expect(nowhere?.message.hasPrefix("/nowhere holds no model") == true)
    }
}
