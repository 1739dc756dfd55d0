import Checkpoints
import Configuration
import ModelFiles
import Settings
import TensorCore
import TokenData

/// What a run reads, opened and checked.
struct RunInputs {
    let trainingData: TokenDataset
    let validationData: TokenDataset?
    let tokenizer: TokenizerFile?
    /// Which tokenizers model and data go with.
    let origins: [TokenizerOrigin?]

    /// `isTrusting`: the tokens are looked at by another rank. `cancellation` ends that by `CancellationError`.
    init(
        _ configuration: RunConfiguration, pool: WorkerPool, isTrusting: Bool, cancellation: CancellationFlag?
    ) throws {
        if let error = configuration.unsupportedPrecision { throw error }
        let data = configuration.data
        var tokenizer = try data.tokenizer.map { try TokenizerFile($0) }
        if let tokenizer {
            try configuration.model.check(
                vocabulary: tokenizer.vocabularySize, of: tokenizer.path, owner: "the model")
        }
        func dataset(_ path: String) throws -> TokenDataset {
            try TokenDataset(
                path: path, sequenceLength: data.sequenceLength, vocabularySize: configuration.model.vocabSize,
                packing: data.packing, pool: pool, isTrusting: isTrusting, cancellation: cancellation)
        }
        trainingData = try dataset(data.train)
        if tokenizer?.endOfTextID == nil { tokenizer?.endOfTextID = trainingData.endOfTextID }
        self.tokenizer = tokenizer
        validationData = try data.validation.map(dataset)
        origins = [
            tokenizer.map { TokenizerOrigin($0) }, TokenizerOrigin(trainingData, at: data.train),
            validationData.flatMap { TokenizerOrigin($0, at: data.validation ?? "") },
        ]
        try TokenizerOrigin.check(
            origins, hint: "set data.tokenizer to the one that the shards were made with, or tokenize again")
    }

    /// Checksums of the tokens, by the setting that names them.
    var fingerprints: [String: UInt32] {
        var all = ["data.train": trainingData.contentFingerprint]
        all["data.validation"] = validationData?.contentFingerprint
        return all
    }
}
