import ArgumentParser
import Checkpoints
import Console
import ModelFiles

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Copy a model out of a run, without the optimizer's state.",
        discussion: """
            Writes config.json, model.safetensors and the tokenizer to a new folder that Hugging Face loads. The \
            weights are float32 as in the checkpoint, or bfloat16 (rounded to nearest) at half the size.

            Example: cosmos-train export runs/llama130m --bf16 --output llama130m-bf16
            """)

    @OptionGroup var given: ModelArgument

    @Option(help: "The folder to write; it must not exist.")
    var output: String

    @Flag(help: "Write the weights as bfloat16.")
    var bf16 = false

    func run() throws {
        let folder = try ModelFolder(given.model)
        let dtype: SafeTensors.DType = bf16 ? .bf16 : .f32
        let bytes = try folder.export(to: output, as: dtype)
        try printResult(
            alignedTable([
                ("model", folder.path), ("written to", output),
                ("weights", "\(dtype.rawValue), \(Format.bytes(bytes))"),
            ]))
    }
}
