// The output head and the cross-entropy loss in one, a chunk of tokens at a time.
//
//     forward    z = h W',   loss_t = log(sum_j exp(z_tj)) - z_t,target
//     backward   dz_tj = c (softmax(z_t)_j - [j = target]),   dh = dz W,   dW += dz' h
//
// h: [tokens, hidden_size]; W: [vocab_size, hidden_size]; c is the weight of a token's loss (one over
// the step's token count). A target below zero is ignored: no loss, no gradient.
// The logits of a batch are never held: a chunk's logits become its dz in place, and are spent on dh
// and dW before the next chunk. Chunk and block sizes depend on the model alone, so the sums do not
// depend on the number of workers.
// Numerics: float32 logits shifted by their maximum; dz is rounded to the activations' type for its
// products; a chunk adds its part to dW in chunk order. The loss of the batch is summed over tokens
// in Double.
// Cost: 2 hidden vocab FLOPs a token forward and 4 backward.

import Glibc
import TensorCore

/// A loss summed over tokens: the exact mean over any number of batches is the ratio of the sums.
public struct TokenLoss: Sendable {
    /// The sum of the tokens' losses in nats.
    public var sum: Double
    /// The number of tokens that have a target.
    public var count: Int

    public init(sum: Double = 0, count: Int = 0) {
        self.sum = sum
        self.count = count
    }

    /// Nats a token.
    public var mean: Double { sum / Double(count) }

    public static func += (total: inout TokenLoss, part: TokenLoss) {
        total.sum += part.sum
        total.count += part.count
    }
}

/// Chunked head and loss for one model shape. Holds one chunk of logits.
final class LinearCrossEntropy<Element: ActivationElement> {
    private let logits: OperandTensor<Element>
    private let rowLosses: Tensor<Float>
    private let chunkRows: Int
    private let pool: WorkerPool

    /// Chunks of at most this many logits (64 MB).
    private static var chunkElements: Int { 16 << 20 }
    /// Rows of W in one block of logits, rows of dz in one block of dh.
    private static var vocabularyBlock: Int { 1024 }
    private static var tokenBlock: Int { 128 }

    init(maxRows: Int, vocabularySize: Int, pool: WorkerPool) {
        let fitting = Self.chunkElements / vocabularySize / Self.tokenBlock * Self.tokenBlock
        chunkRows = min(maxRows, max(Self.tokenBlock, fitting))
        logits = OperandTensor(Tensor(chunkRows, vocabularySize))
        rowLosses = Tensor(maxRows)
        self.pool = pool
    }

    var byteCount: Int { logits.values.byteCount + logits.operandByteCount + rowLosses.byteCount }

    /// The loss of `h`'s rows against `targets`; with `gradient`, also dh and the addition to dW.
    func callAsFunction(
        _ h: Matrix<Element>, weight: Matrix<Element>, targets: UnsafeBufferPointer<Int32>,
        gradient: (dh: Matrix<Float>, dweight: Matrix<Float>, lossScale: Float)?,
        cancellation: CancellationFlag?
    ) throws -> TokenLoss {
        precondition(h.rows == targets.count, "\(h.rows) hidden states, \(targets.count) targets")
        let vocabularySize = weight.rows
        let vocabularyBlocks = ranges(of: vocabularySize, size: Self.vocabularyBlock)
        for start in stride(from: 0, to: h.rows, by: chunkRows) {
            let rows = start..<min(start + chunkRows, h.rows)
            let chunk = h.rows(rows)
            let z = logits.values.matrix.rows(0..<rows.count)
            try pool.forEach(vocabularyBlocks.count, cancellation: cancellation) { block, _ in
                let range = vocabularyBlocks[block]
                multiply(chunk.plain, weight.rows(range).transposed, into: z.columns(range), accumulating: false)
            }
            let tokenBlocks = ranges(of: rows.count, size: Self.tokenBlock)
            try pool.forEach(tokenBlocks.count, cancellation: cancellation) { block, _ in
                for i in tokenBlocks[block] {
                    rowLosses.data[start + i] = loss(
                        z.row(i), target: targets[start + i], count: vocabularySize,
                        gradientScale: gradient?.lossScale)
                }
                if gradient != nil { logits.round(rows: tokenBlocks[block]) }
            }
            guard let gradient else { continue }
            let dz = logits.operand.rows(0..<rows.count)
            try pool.forEach(tokenBlocks.count + vocabularyBlocks.count, cancellation: cancellation) { block, _ in
                if block < tokenBlocks.count {
                    let range = tokenBlocks[block]
                    let dh = gradient.dh.rows(start + range.lowerBound..<start + range.upperBound)
                    multiply(dz.rows(range).plain, weight.plain, into: dh, accumulating: false)
                } else {
                    let range = vocabularyBlocks[block - tokenBlocks.count]
                    multiply(
                        dz.columns(range).transposed, chunk.plain, into: gradient.dweight.rows(range),
                        accumulating: true)
                }
            }
        }
        var total = TokenLoss()
        for (i, target) in targets.enumerated() where target >= 0 {
            total += TokenLoss(sum: Double(rowLosses.data[i]), count: 1)
        }
        return total
    }

    /// The loss of one row of logits. Spends the row: with `gradientScale` it becomes its gradient.
    private func loss(
        _ z: UnsafeMutablePointer<Float>, target: Int32, count: Int, gradientScale: Float?
    ) -> Float {
        guard target >= 0 else {
            if gradientScale != nil { z.update(repeating: 0, count: count) }
            return 0
        }
        let targetLogit = z[Int(target)]
        let (shift, sum) = Softmax.exponentials(z, count: count)
        if let gradientScale {
            Softmax.scale(z, count: count, by: gradientScale / sum)
            z[Int(target)] -= gradientScale
        }
        return log(sum) + (shift - targetLogit)
    }
}
