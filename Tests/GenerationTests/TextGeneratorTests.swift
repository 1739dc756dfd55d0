import Console
import Generation
import LLaMA
import TensorCore
import TestSupport
import Testing
import TokenData

@Suite struct TextGeneratorTests {
    /// A tokenizer that writes rare characters as several byte tokens.
    private func tokenizer(_ folder: TemporaryFolder) throws -> Tokenizer {
        let text = (0..<300).map { "word\($0 % 17) and number \($0 * 7919 % 1000) of the text" }.joined(separator: "\n")
        try folder.write(text.utf8, "text.txt")
        var training = TokenizerTraining(
            inputs: [folder.file("text.txt")], output: folder.file("t.model"), vocabularySize: 320)
        training.byteFallback = true
        _ = try training.run()
        return try Tokenizer(modelFile: folder.file("t.model"))
    }

    /// What is given out piece by piece is the text, and no piece ends within a character.
    @Test(arguments: [
        "word3 and the text", "the \u{e9}t\u{e9} \u{65e5}\u{672c} \u{1f600}\u{1f600} end", "\u{65e5}", "",
    ])
    func aStreamGivesTheWholeText(_ text: String) throws {
        let tokenizer = try tokenizer(TemporaryFolder())
        let ids = try tokenizer.encode(text)
        for promptLength in [0, ids.count / 2] {
            let prompt = Array(ids.prefix(promptLength))
            guard try !tokenizer.decode(prompt).hasSuffix("\u{fffd}") else { continue }
            var stream = TextStream(tokenizer: tokenizer, prompt: prompt)
            var pieces = try ids.dropFirst(promptLength).map { try stream.append($0) }
            #expect(pieces.allSatisfy { !$0.contains("\u{fffd}") })
            pieces.append(try stream.rest())
            #expect(try tokenizer.decode(prompt) + pieces.joined() == text)
        }
    }

    @Test func bytesThatBecomeNoCharacterAreGivenAtTheEnd() throws {
        let tokenizer = try tokenizer(TemporaryFolder())
        let half = try Array(tokenizer.encode("word3 \u{65e5}").dropLast())
        var stream = TextStream(tokenizer: tokenizer, prompt: [])
        let text = try half.map { try stream.append($0) }.joined()
        #expect(try text + stream.rest() == tokenizer.decode(half))
        #expect(!text.contains("\u{fffd}"))
    }

    private func model(vocabulary: Int) -> LLaMA {
        var config = LLaMAConfig()
        (config.hiddenSize, config.intermediateSize, config.numHiddenLayers) = (16, 24, 1)
        (config.numAttentionHeads, config.vocabSize, config.maxPositionEmbeddings) = (2, vocabulary, 24)
        let model = LLaMA(config: config, pool: WorkerPool(threads: 2), microBatchSize: 1, sequenceLength: 1)
        model.initialize(seed: 1)
        return model
    }

    @Test func generationEndsWhereItShouldAndFollowsTheSeed() throws {
        let tokenizer = try tokenizer(TemporaryFolder())
        // Ids beyond the tokenizer's are never drawn.
        let generator = try TextGenerator(
            model: model(vocabulary: 400), tokenizer: tokenizer, start: tokenizer.endOfTextID, maxLength: 24)
        func generate(_ maxTokens: Int, seed: UInt64 = 1) throws -> (
            text: String, tokens: Int, ending: TextGenerator.Ending
        ) {
            var (text, random) = ("", Random(seed: seed, stream: "test"))
            let (tokens, ending) = try generator.generate(
                prompt: "the text", maxTokens: maxTokens, sampling: Sampling(), random: &random
            ) { text += $0 }
            return (text, tokens, ending)
        }
        let short = try generate(5)
        #expect(short.text.hasPrefix("the text"))
        #expect(short.tokens == 5 && short.ending == .maxTokens)
        #expect(try generate(5).text == short.text)
        #expect(try generate(5, seed: 2).text != short.text)
        let long = try generate(1000)
        #expect(long.ending == .contextLength && long.tokens < 24 && long.text.hasPrefix(short.text))
    }

    @Test func aTokenizerOfAnotherModelAndATooLongPromptAreRefused() throws {
        let tokenizer = try tokenizer(TemporaryFolder())
        let error = #expect(throws: UserError.self) {
            try TextGenerator(model: model(vocabulary: 300), tokenizer: tokenizer, start: nil, maxLength: 24)
        }
        #expect(error?.message.contains("has 320 token ids, the model only 300") == true)

        let generator = try TextGenerator(
            model: model(vocabulary: 320), tokenizer: tokenizer, start: nil, maxLength: 24)
        var (random, output) = (Random(seed: 1, stream: "test"), "")
        for prompt in [String(repeating: "the text ", count: 30), ""] {
            #expect(throws: UserError.self) {
                try generator.generate(prompt: prompt, maxTokens: 1, sampling: Sampling(), random: &random) {
                    output += $0
                }
            }
        }
        #expect(output.isEmpty)
    }
}
