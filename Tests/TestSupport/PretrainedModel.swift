import Checkpoints
import Foundation
import LLaMA
import ModelFiles
import TensorCore

/// Models that transformers made (scripts/check_huggingface.sh --fixtures), and the logits it computes.
package enum PretrainedModel {
    package static let fixtures = repositoryRoot.appending(path: "Tests/CheckpointsTests/Fixtures").path(
        percentEncoded: false)
    package static let sharded = "grouped-tied-sharded-bf16"
    package static let names = [sharded, "old-config-fp16", "grouped-fp32"]

    /// The largest difference of a model's logits from those that its fixture expects.
    package static func difference(of folder: ModelFolder, from name: String) throws -> Float {
        let file = try SafeTensorsFile(path: "\(fixtures)/\(name)/expected.safetensors")
        let expected = Tensor<Float>(try file.entry("logits").shape)
        try file.read("logits", into: expected)
        let tokens = Tensor<Float>(expected.shape[0])
        try file.read("tokens", into: tokens)
        let model = LLaMA(
            config: folder.config, pool: WorkerPool(threads: 1), microBatchSize: 1, sequenceLength: tokens.count)
        try folder.loadWeights(into: model)
        let logits = try model.logits(tokens: tokens.elements.map { Int32($0) }, sequences: 1)
        precondition(logits.shape == expected.shape, "logits of another shape")
        return zip(logits.elements, expected.elements).map { abs($0 - $1) }.max() ?? .infinity
    }

    /// A copy of a fixture, which `change` spoils.
    package static func copy(_ name: String, into folder: TemporaryFolder) throws -> String {
        try FileManager.default.copyItem(atPath: "\(fixtures)/\(name)", toPath: folder.file(name))
        return folder.file(name)
    }
}
