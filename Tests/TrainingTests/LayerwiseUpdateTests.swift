import Console
import Foundation
import LLaMA
import Optimizers
import TensorCore
import TestSupport
import Testing
import Training

/// `training.layerwise_updates`: less memory and the same numbers.
@Suite("Layerwise updates")
struct LayerwiseUpdateTests {
    private static let whole = "training={micro_batch_size: 8}"
    private static let layerwise = "training={micro_batch_size: 8, layerwise_updates: true}"

    private func removeCheckpointsAfterFive(_ run: TinyRun, _ name: String) throws {
        for step in ["10", "12"] {
            try FileManager.default.removeItem(atPath: run.folder.file("\(name)/checkpoints/step-000000\(step)"))
        }
    }

    @Test(
        "The bits are those of a step as a whole, with any number of threads, and a run may go from one to the other",
        arguments: optimizers.map { "optimizer={name: \($0.name), lr: 5.0e-3}" } + [
            "optimizer={name: galore, lr: 5.0e-3, rank: 4, update_proj_gap: 3, stagger: true}",
            "optimizer={name: soap, lr: 5.0e-3, precondition_frequency: 3, stagger: true}",
            "model.tie_word_embeddings=true", "training.recompute=block", "training.recompute=mlp",
        ] + (BFloat16Library.isSupportedByCPU ? ["training.precision=bf16"] : []),
        // Not at all, and in every step.
        ["training.gradient_clip=0", "training.gradient_clip=0.01"])
    func sameBits(assignment: String, clip: String) throws {
        let run = try TinyRun()
        try run.train("whole", Self.whole, assignment, clip)
        try run.train("layerwise", Self.layerwise, assignment, clip)
        try run.expectEqual("whole", "layerwise")
        try removeCheckpointsAfterFive(run, "layerwise")
        try run.train("layerwise", Self.whole, assignment, clip, purpose: .resume)
        try run.expectEqual("whole", "layerwise")
        try removeCheckpointsAfterFive(run, "layerwise")
        try run.train("layerwise", Self.layerwise, assignment, clip, "training.threads=1", purpose: .resume)
        try run.expectEqual("whole", "layerwise")
    }

    /// A gain so small that the gradient of what it scales overflows, in a layer whose output is finite.
    @Test(
        "A gradient that fails in a lower layer ends the run; the last checkpoint stays, and what is half a step is not kept",
        arguments: [0, 1])
    func failureWithinAStep(clip: Int) throws {
        let run = try TinyRun()
        let clipping = "training.gradient_clip=\(clip)"
        try run.train("run", Self.layerwise, clipping)
        try removeCheckpointsAfterFive(run, "run")
        let setup = try RunSetup(
            run.configuration([Self.layerwise, clipping, "output.run_dir=\(run.folder.file("run"))"]), purpose: .resume,
            status: run.silentStatus())
        let kept = try run.tensors()
        func elements(_ name: String) throws -> UnsafeMutableBufferPointer<Float> {
            try #require(setup.model.parameters.first { $0.name == "model.layers.\(name).weight" }).weight.elements
        }
        for (name, factor) in [
            ("0.input_layernorm", 1e-43), ("0.self_attn.v_proj", 1e30), ("0.self_attn.o_proj", 1e16),
        ] {
            let weight = try elements(name)
            for index in weight.indices { weight[index] *= Float(factor) }
        }
        let above = try Array(elements("1.mlp.up_proj"))
        let error = #expect(throws: RunFailure.self) {
            _ = try Trainer(setup, cancellation: CancellationFlag()).run()
        }
        #expect(
            error?.description.hasPrefix(
                "error: step 6: model.layers.0.input_layernorm.weight: the gradient is not finite")
                == true, "\(error?.description ?? "")")
        // Clipping needs the norm first: nothing has changed then.
        #expect(try Array(elements("1.mlp.up_proj")) == above ? clip == 1 : clip == 0)
        #expect(error?.checkpoint?.hasSuffix("/step-00000005") == true && error?.aside == nil)
        #expect(try run.folder.names("run/checkpoints") == ["latest", "step-00000005"])
        #expect(try run.tensors() == kept)
    }
}
