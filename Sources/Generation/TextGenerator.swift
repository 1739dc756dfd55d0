import Console
import LLaMA
import ModelFiles
import TensorCore
import TokenData

/// Continues a text with a model, token by token.
public final class TextGenerator {
    public enum Ending: Sendable {
        case endOfText, maxTokens, contextLength
    }

    private let decoder: Decoder
    private let tokenizer: Tokenizer
    private let vocabularySize: Int
    private let start: Int32?

    /// `start` is the token that documents begin after, put before every prompt. Throws where the tokenizer
    /// has ids that the model does not know.
    public init(model: LLaMA, tokenizer: Tokenizer, start: Int32?, maxLength: Int) throws {
        try model.config.check(
            vocabulary: tokenizer.vocabularySize, of: tokenizer.modelFile, owner: "the model")
        self.tokenizer = tokenizer
        self.start = start
        // A model's vocabulary may be padded with ids that no token has.
        vocabularySize = tokenizer.vocabularySize
        decoder = Decoder(model: model, maxLength: maxLength)
    }

    /// Writes `prompt` and its continuation with `emit`, piece by piece as it comes, and returns the number
    /// of tokens made. It ends with the end of text, after `maxTokens`, or where the context is full.
    public func generate(
        prompt: String, maxTokens: Int, sampling: Sampling, random: inout Random, emit: (String) throws -> Void
    ) throws -> (tokens: Int, ending: Ending) {
        decoder.reset()
        let promptIDs = try tokenizer.encode(prompt)
        var context = (start.map { [$0] } ?? []) + promptIDs
        if context.isEmpty {
            throw UserError(
                .usage, "the prompt is empty, and the tokenizer has no token to begin with", hint: "give a --prompt")
        }
        guard context.count <= decoder.maxLength else {
            throw UserError(
                .usage, "the prompt has \(context.count) tokens, the context of the model \(decoder.maxLength)",
                hint: "give a shorter --prompt")
        }
        try emit(prompt)
        var stream = TextStream(tokenizer: tokenizer, prompt: promptIDs)
        var count = 0
        while true {
            let logits = decoder.append(context).prefix(vocabularySize)
            guard logits.allSatisfy(\.isFinite) else {
                throw UserError(.data, "the model gives logits that are not finite", hint: "use an earlier checkpoint")
            }
            if count == maxTokens {
                try emit(stream.rest())
                return (count, .maxTokens)
            }
            let token = sampling.next(logits, random: &random)
            if token == tokenizer.endOfTextID {
                try emit(stream.rest())
                return (count, .endOfText)
            }
            count += 1
            try emit(stream.append(token))
            if decoder.position == decoder.maxLength {
                try emit(stream.rest())
                return (count, .contextLength)
            }
            context = [token]
        }
    }
}

/// Text that grows by tokens. A character whose bytes are spread over several tokens is held back until
/// it is whole, so that what was given out never changes.
package struct TextStream {
    private let tokenizer: Tokenizer
    private var ids: [Int32]
    /// Bytes of the text so far that were given out, the prompt's included.
    private var given = 0

    package init(tokenizer: Tokenizer, prompt: [Int32]) {
        self.tokenizer = tokenizer
        ids = prompt
        given = (try? tokenizer.decode(prompt).utf8.count) ?? 0
    }

    package mutating func append(_ token: Int32) throws -> String {
        ids.append(token)
        var bytes = Array(try tokenizer.decode(ids).utf8)
        while bytes.suffix(3) == [0xef, 0xbf, 0xbd] { bytes.removeLast(3) }  // U+FFFD
        return give(bytes)
    }

    package mutating func rest() throws -> String { give(Array(try tokenizer.decode(ids).utf8)) }

    private mutating func give(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes.dropFirst(given), as: UTF8.self)
        given = max(given, bytes.count)
        return text
    }
}
