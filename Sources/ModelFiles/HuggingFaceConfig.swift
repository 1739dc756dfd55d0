import Configuration
import Console
import Files
import Foundation
import LLaMA
import TokenData

/// `config.json`, Hugging Face's description of a model, for `LlamaForCausalLM`.
package enum HuggingFaceConfig {
    /// The file for a model of ours. Both the places where transformers 4 and 5 read `rope_theta` and the
    /// element type are filled.
    package static func encode(_ config: LLaMAConfig, tokenizer: TokenizerFile?) throws -> Data {
        func id(_ value: Int32?) -> JSONValue { value.map { .integer(Int($0)) } ?? .null }
        // What a configuration says of the model has the same names.
        let shape = try JSONValue.Object(
            uniqueKeysWithValues: config.values.map { (.init($0.key), try JSONValue(json: Array($0.value.utf8))) })
        let others: JSONValue.Object = [
            "architectures": .array([.string("LlamaForCausalLM")]),
            "model_type": .string("llama"),
            "dtype": .string("float32"),
            "torch_dtype": .string("float32"),
            "hidden_act": .string("silu"),
            "num_key_value_heads": .integer(config.numKeyValueHeads),
            "head_dim": .integer(config.headDim),
            "rope_parameters": .object(["rope_theta": .number(config.ropeTheta), "rope_type": .string("default")]),
            "rope_scaling": .null,
            "attention_bias": .bool(false),
            "attention_dropout": .number(0),
            "mlp_bias": .bool(false),
            "pretraining_tp": .integer(1),
            "use_cache": .bool(true),
            "bos_token_id": id(tokenizer?.beginOfTextID),
            "eos_token_id": id(tokenizer?.endOfTextID),
            "pad_token_id": id(tokenizer?.padID),
        ]
        return try JSONFile.encode(JSONValue.object(shape.merging(others) { $1 }))
    }

    /// Reads a model's shape. What this program does not compute (biases, rope scaling, another
    /// activation or architecture, quantized weights) is refused by name.
    package static func read(_ path: String) throws -> LLaMAConfig {
        let fields = try JSONFile.object(path).filter { $0.value != .null }
        try refuseUnsupported(fields, path)
        var known = fields
        known["rope_theta"] = try ropeTheta(fields, path)
        let keys = Set(LLaMAConfig.fields.map { JSONValue.Key($0.key) })
        known = known.filter { keys.contains($0.key) }
        do {
            let config: LLaMAConfig = try decode(from: JSONValue.object(known).configuration(source: path), at: "")
            if let headDim = fields["head_dim"], headDim != .integer(config.headDim) {
                throw unsupported(path, "head_dim \(headDim.text), not hidden_size / num_attention_heads")
            }
            return config
        } catch let error as UserError {
            throw UserError(.data, error.message, hint: error.hint)
        }
    }

    /// The file at `path` for the same weights in another type ("bfloat16"); all else stands as it is.
    package static func encode(contentsOf path: String, dtype: String) throws -> Data {
        var fields = try JSONFile.object(path)
        for key in ["dtype", "torch_dtype"] as [JSONValue.Key] { fields[key] = .string(dtype) }
        return try JSONFile.encode(JSONValue.object(fields))
    }

    /// The settings in which a model that is on the disk differs from the one that is asked for, in words.
    /// What changes nothing that a trained model computes may differ.
    package static func differences(stored: LLaMAConfig, given: LLaMAConfig) -> [String] {
        let harmless = ["initializer_range", "max_position_embeddings"]
        return zip(stored.values, given.values).compactMap { stored, given in
            stored == given || harmless.contains(stored.key)
                ? nil : "\(stored.key) is \(stored.value) there and \(given.value) here"
        }
    }

    /// transformers 4 reads it at the top, transformers 5 in `rope_parameters` if that is there.
    private static func ropeTheta(_ fields: JSONValue.Object, _ path: String) throws -> JSONValue? {
        guard case .object(let rope) = fields["rope_parameters"], let theta = rope["rope_theta"] else {
            return fields["rope_theta"]
        }
        if let old = fields["rope_theta"], old != theta {
            throw UserError(
                .data,
                "\(path): rope_theta is \(old.text), and \(theta.text) in rope_parameters: versions of transformers "
                    + "would read two models", hint: "remove the one that the model was not trained with")
        }
        return theta
    }

    private static func unsupported(_ path: String, _ what: String) -> UserError {
        UserError(.data, "\(path): the model has \(what), which is not supported", hint: "plain LLaMA models are")
    }

    private static func refuseUnsupported(_ fields: JSONValue.Object, _ path: String) throws {
        guard fields["model_type"] == .string("llama") else {
            throw UserError(
                .data, "\(path): model_type is \(fields["model_type"]?.text ?? "missing"), not \"llama\"",
                hint: "plain LLaMA models are supported")
        }
        if case .array(let names) = fields["architectures"], let name = names.first,
            // GaLore's configurations have the old spelling.
            ![.string("LlamaForCausalLM"), .string("LLaMAForCausalLM")].contains(name)
        {
            throw UserError(
                .data, "\(path): the architecture is \(name.text), not \"LlamaForCausalLM\"",
                hint: "models that predict the next token are supported")
        }
        for key in ["attention_bias", "mlp_bias"] as [JSONValue.Key] where fields[key] == .bool(true) {
            throw unsupported(path, "biases (\(key.text))")
        }
        if let activation = fields["hidden_act"], activation != .string("silu") {
            throw unsupported(path, "hidden_act \(activation.text)")
        }
        for key in ["rope_scaling", "rope_parameters"] as [JSONValue.Key] {
            guard case .object(let rope) = fields[key] else { continue }
            let type = rope["rope_type"] ?? rope["type"] ?? (key == "rope_scaling" ? .null : .string("default"))
            guard type == .string("default") else { throw unsupported(path, "rope scaling of type \(type.text)") }
            if let share = rope["partial_rotary_factor"], share.double != 1 {
                throw unsupported(path, "partial_rotary_factor \(share.text)")
            }
        }
        if fields["quantization_config"] != nil { throw unsupported(path, "quantized weights") }
    }
}

extension JSONValue {
    fileprivate var text: String { configuration(source: "").summary }
}
