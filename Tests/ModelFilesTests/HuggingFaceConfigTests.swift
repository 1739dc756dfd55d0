import Console
import Foundation
import LLaMA
import ModelFiles
import TestSupport
import Testing

@Suite struct HuggingFaceConfigTests {
    @Test func whatIsWrittenReadsAsTheSameModel() throws {
        let folder = try TemporaryFolder()
        let data = try HuggingFaceConfig.encode(smallConfig(), tokenizer: nil)
        try folder.write(data, "config.json")
        #expect(try HuggingFaceConfig.read(folder.file("config.json")) == smallConfig())
        let json = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(json["architectures"] as? [String] == ["LlamaForCausalLM"])
        #expect(json["model_type"] as? String == "llama")
        #expect(json["rope_theta"] as? Double == 500_000)
        #expect((json["rope_parameters"] as? [String: Any])?["rope_theta"] as? Double == 500_000)
        #expect(json["eos_token_id"] is NSNull)
    }

    private func read(_ text: String) throws -> LLaMAConfig {
        let folder = try TemporaryFolder()
        return try HuggingFaceConfig.read(try folder.write(text.utf8, "config.json"))
    }

    private func json(_ more: String) -> String {
        """
        {"model_type": "llama", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
         "num_attention_heads": 2, "vocab_size": 16, "unknown": {"a": [1, null]}\(more.isEmpty ? "" : ", " + more)}
        """
    }

    @Test func defaultsAreHuggingFaces() throws {
        let config = try read(json(""))
        #expect(config.numKeyValueHeads == 2)
        #expect(config.ropeTheta == 10_000)
        #expect(config.rmsNormEps == 1e-6)
        #expect(!config.tieWordEmbeddings)
    }

    @Test(arguments: [
        "\"rope_theta\": 5e5", "\"rope_parameters\": {\"rope_theta\": 500000, \"rope_type\": \"default\"}",
        "\"rope_theta\": 500000.0, \"rope_scaling\": null",
    ])
    func ropeThetaIsFoundInItsOldAndNewPlaces(_ text: String) throws {
        #expect(try read(json(text)).ropeTheta == 500_000)
    }

    @Test(arguments: [
        ("\"model_type\": \"mistral\"", "model_type is \"mistral\""),
        ("\"attention_bias\": true", "biases (attention_bias)"),
        ("\"mlp_bias\": true", "biases (mlp_bias)"),
        ("\"hidden_act\": \"gelu\"", "hidden_act \"gelu\""),
        ("\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}", "rope scaling of type \"linear\""),
        ("\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0}", "rope scaling of type \"llama3\""),
        ("\"rope_parameters\": {\"rope_theta\": 1e4, \"rope_type\": \"yarn\"}", "rope scaling of type \"yarn\""),
        ("\"quantization_config\": {\"bits\": 4}", "quantized weights"),
        ("\"head_dim\": 5", "head_dim 5"),
        ("\"num_key_value_heads\": 3", "num_key_value_heads"),
        ("\"vocab_size\": \"many\"", "vocab_size"),
        ("\"num_attention_heads\": 0", "num_attention_heads"),
        ("\"num_hidden_layers\": 99999999999999999999", "num_hidden_layers"),
    ])
    func whatIsNotSupportedIsRefusedByName(_ text: String, _ words: String) throws {
        // A later key wins, so that each case changes one thing.
        let name = try #require(text.split(separator: "\"").first)
        let plain = json("").replacingOccurrences(
            of: "\"\(name)\": [^,}]*,", with: "", options: .regularExpression)
        let error = #expect(throws: UserError.self) { try read(plain.dropLast() + ", " + text + "}") }
        #expect(error?.kind == .data)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }

    /// Which of two values is meant, nobody knows; and other readers refuse what ends with a comma.
    @Test func onlyStrictJSONIsRead() throws {
        let whole = json("")
        for (text, words) in [
            (whole.dropLast() + ", \"vocab_size\": 7}", "the key \"vocab_size\" is there twice"),
            (whole.dropLast() + ",}", "`}` where a key is expected"),
        ] {
            let error = #expect(throws: UserError.self) { try read(String(text)) }
            #expect(error?.kind == .data && error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
    }

    @Test(arguments: ["", "{", "[]", "null", "\u{0}\u{1}"]) func garbageIsRefused(_ text: String) {
        #expect(throws: UserError.self) { try read(text) }
    }
}
