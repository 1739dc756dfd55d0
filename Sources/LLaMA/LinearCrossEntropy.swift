// The output layer (lm_head) and the cross-entropy loss in one, a chunk of tokens at a time.
//
//     forward    z = h W',   loss_t = log(sum_j exp(z_tj)) - z_t,target
//     backward   dz_tj = c (softmax(z_t)_j - [j = target]),   dh = dz W,   dW += dz' h
//
// h: [tokens, hidden_size]; W: [vocab_size, hidden_size]; c is the weight of a token's loss (one over
// the step's token count). A target below zero is ignored: no loss, no gradient.
// The logits of a batch are never held: a chunk's logits become its dz in place, and are spent on dh
// and dW before the next chunk. They lie by tiles of the vocabulary, each [chunk rows, tile], as the
// products write and read them. The sum over the vocabulary that is dh is made in parts of some tiles each,
// so that many workers can share it, and these are added in order. Chunk and tile sizes depend on the model
// alone, so the sums do not depend on the number of workers.
// Numerics: float32 logits shifted by their maximum; dz is rounded to the activations' type for its
// products; a chunk adds its part to dW in chunk order. The loss of the batch is summed over tokens
// in Double.
// Cost: 2 hidden vocab FLOPs a token forward and 4 backward.

import Glibc
import TensorCore

/// A loss summed over tokens: the exact mean over any number of batches is the ratio of the sums.
public struct TokenLoss: Sendable {
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

/// lm_head and loss by chunks, for one model shape. Holds one chunk of logits, in the memory of an arena as all that no
/// chunk leaves to the next pass.
package final class LinearCrossEntropy<Element: ActivationElement> {
    private let logits: OperandMatrix<Element>
    private let rowLosses: Tensor<Float>
    /// The largest logit of each row and tile of the vocabulary, and the sum of exponentials with it.
    private let normalizers: Tensor<Float>
    /// dh of a chunk, one for each group of vocabulary tiles.
    private let partialGradients: [Matrix<Float>]
    /// A chunk's h as dW reads it.
    private let gradientInput: GradientInput<Element>
    private let chunkRows: Int
    private let pool: WorkerPool
    /// For a tile of W, where it is packed task by task.
    private let workspace: Workspace

    /// Rows of W in one tile of logits.
    package static var vocabularyTile: Int { 1024 }
    /// Chunks of at most this many logits (64 MB).
    private static var chunkElements: Int { 16 << 20 }
    /// Rows of a chunk that one task takes: of logits, of losses, of dh.
    private static var logitRows: Int { 128 }
    private static var lossRows: Int { 4 }
    private static var tokenTile: Int { 128 }
    /// Tiles of the vocabulary in one part of dh.
    private static var groupedTiles: Int { 4 }

    package init(_ arena: Arena, maxRows: Int, lmHead: Linear<Element>, pool: WorkerPool) {
        let weight = lmHead.parameter.values.matrix
        let vocabularySize = weight.rows
        let fitting = Self.chunkElements / vocabularySize / Self.tokenTile * Self.tokenTile
        chunkRows = min(maxRows, max(Self.tokenTile, fitting))
        logits = OperandMatrix(arena.matrix(chunkRows, vocabularySize), arena)
        rowLosses = Tensor(maxRows)
        normalizers = Tensor(chunkRows, 2 * lmHead.tiles.count)
        partialGradients = ranges(of: lmHead.tiles.count, size: Self.groupedTiles).map { [chunkRows] _ in
            arena.matrix(chunkRows, weight.columns)
        }
        gradientInput = GradientInput(arena, tokens: chunkRows, columns: weight.columns)
        self.pool = pool
        workspace = Workspace(workers: pool.workerCount) { [chunkRows] arena in
            arena.overlaid { WeightGradient<Element>.scratch(arena, tokens: chunkRows) }
            for direction in [WeightOperand<Element>.Direction.forward, .backward] {
                arena.overlaid { _ = lmHead.tiles.first?.weight.scratch(direction, arena) }
            }
        }
    }

    /// Without the arena's.
    var byteCount: Int { rowLosses.byteCount + normalizers.byteCount }
    /// What evaluation touches of the arena.
    var logitsByteCount: Int { logits.values.count * MemoryLayout<Float>.stride }
    var scratchByteCount: Int { workspace.byteCount }

    /// The chunk's logits of some of the vocabulary, in `whole`: those in float32 or their operands.
    private func tile<Number>(_ vocabulary: Range<Int>, rows: Int, of whole: Matrix<Number>) -> Matrix<Number> {
        Matrix(
            whole.base + chunkRows * vocabulary.lowerBound, rows: rows, columns: vocabulary.count,
            stride: vocabulary.count)
    }

    /// The loss of `h`'s rows against `targets`; with `gradient`, also dh and the addition to W's gradient.
    @_specialize(where Element == Float)
    @_specialize(where Element == BFloat16)
    package func callAsFunction(
        _ h: Matrix<Element>, lmHead: Linear<Element>, targets: UnsafeBufferPointer<Int32>,
        gradient: (dh: Matrix<Float>, tokenWeight: Float)?, cancellation: CancellationFlag?
    ) throws -> TokenLoss {
        require(h.rows == targets.count, "\(h.rows) hidden states, \(targets.count) targets")
        let tiles = lmHead.tiles
        for start in stride(from: 0, to: h.rows, by: chunkRows) {
            let rows = start..<min(start + chunkRows, h.rows)
            let chunk = h.rows(rows)
            let z = tiles.map { tile($0.rows, rows: rows.count, of: logits.values) }
            let dz = tiles.map { tile($0.rows, rows: rows.count, of: logits.operand) }
            let logitRows = ranges(of: rows.count, size: Self.logitRows)
            try pool.forEach(tiles.count * logitRows.count, phase: "lm_head: logits", cancellation: cancellation) {
                task, worker in
                let (index, part) = task.quotientAndRemainder(dividingBy: logitRows.count)
                multiply(
                    chunk.rows(logitRows[part]).plain,
                    tiles[index].weight.operand(.forward, workspace.arena(of: worker)),
                    into: z[index].rows(logitRows[part]), accumulating: false)
                // While they are in cache.
                for row in logitRows[part] {
                    let normalizer = normalizers.matrix.row(row) + 2 * index
                    (normalizer[0], normalizer[1]) = Softmax.normalizer(z[index].row(row), count: z[index].columns)
                }
            }
            let lossRows = ranges(of: rows.count, size: Self.lossRows)
            let packed = ranges(of: gradient == nil ? 0 : rows.count, size: Self.tokenTile)
            try pool.forEach(packed.count + lossRows.count, phase: "lm_head: softmax", cancellation: cancellation) {
                task, _ in
                if task < packed.count { return gradientInput.set(packed[task], to: chunk.rows(packed[task])) }
                let index = task - packed.count
                for row in lossRows[index] {
                    rowLosses.data[start + row] = loss(
                        z, dz, row: row, target: targets[start + row], gradientScale: gradient?.tokenWeight)
                }
            }
            guard let gradient else { continue }
            try addGradients(dz, lmHead: lmHead, dh: gradient.dh.rows(rows), cancellation: cancellation)
        }
        var total = TokenLoss()
        for (i, target) in targets.enumerated() where target >= 0 {
            total += TokenLoss(sum: Double(rowLosses.data[i]), count: 1)
        }
        return total
    }

    /// dh of a chunk, and what it adds to W's gradient.
    private func addGradients(
        _ dz: [Matrix<Element>], lmHead: Linear<Element>, dh: Matrix<Float>, cancellation: CancellationFlag?
    ) throws {
        let tiles = lmHead.tiles
        let dweight = lmHead.parameter.gradient.matrix
        let groups = ranges(of: tiles.count, size: Self.groupedTiles)
        let tokenTiles = ranges(of: dh.rows, size: Self.tokenTile)
        let weightTasks = tiles.indices.flatMap { index in
            ranges(of: tiles[index].rows.count, size: WeightGradient<Element>.rows).map { (index, $0) }
        }
        let dhTasks = groups.count * tokenTiles.count
        try pool.forEach(dhTasks + weightTasks.count, phase: "lm_head: gradients", cancellation: cancellation) {
            task, worker in
            if task < dhTasks {
                let (group, tile) = task.quotientAndRemainder(dividingBy: tokenTiles.count)
                let rows = tokenTiles[tile]
                let part = partialGradients[group].rows(rows)
                for index in groups[group] {
                    multiply(
                        dz[index].rows(rows).plain,
                        tiles[index].weight.operand(.backward, workspace.arena(of: worker)), into: part,
                        accumulating: index > groups[group].lowerBound)
                }
            } else {
                let (index, part) = weightTasks[task - dhTasks]
                let first = tiles[index].rows.lowerBound
                WeightGradient(
                    dy: dz[index].columns(part), x: gradientInput,
                    gradient: dweight.rows(first + part.lowerBound..<first + part.upperBound)
                ).add(workspace.arena(of: worker), on: pool)
            }
        }
        let sumRows = ranges(of: dh.rows, size: 16)
        try pool.forEach(sumRows.count, phase: "lm_head: sum of dh", cancellation: cancellation) { index, _ in
            let dh = dh.rows(sumRows[index])
            dh.copy(from: partialGradients[0].rows(sumRows[index]))
            for part in partialGradients.dropFirst() {
                dh.combine(with: part.rows(sumRows[index])) { $0 + $1 }
            }
        }
    }

    /// The loss of one row of logits, which lies over the tiles `z`. Spends them; with `gradientScale` the
    /// row of `dz`, which may be where `z` is, becomes its gradient.
    private func loss(
        _ z: [Matrix<Float>], _ dz: [Matrix<Element>], row: Int, target: Int32, gradientScale: Float?
    ) -> Float {
        guard target >= 0 else {
            if gradientScale != nil {
                for dz in dz { dz.row(row).update(repeating: Element(0), count: dz.columns) }
            }
            return 0
        }
        let (tile, column) = Int(target).quotientAndRemainder(dividingBy: Self.vocabularyTile)
        let targetLogit = z[tile][row, column]
        let normalizers = normalizers.matrix.row(row)
        let shift = z.indices.reduce(-Float.infinity) { max($0, normalizers[2 * $1]) }
        let sum = z.indices.reduce(Float(0)) { $0 + normalizers[2 * $1 + 1] * exp(normalizers[2 * $1] - shift) }
        if let gradientScale {
            let targetProbability = exp(targetLogit - shift) / sum
            for (z, dz) in zip(z, dz) {
                Softmax.exponentials(
                    z.row(row), count: z.columns, shift: shift, factor: gradientScale / sum, into: dz.row(row))
            }
            dz[tile][row, column] = Element(gradientScale * (targetProbability - 1))
        }
        return log(sum) + (shift - targetLogit)
    }
}
