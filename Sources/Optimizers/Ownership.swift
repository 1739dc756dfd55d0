import TensorCore

/// Which rank keeps the state of what, and steps it: whole matrices, shared out by the cost of their steps, and rows
/// of embedding and lm_head, which level the memory.
///
/// Follows from the model, the optimizer and the number of ranks alone, so that all ranks know it. No matrix that is
/// stepped as a whole is ever cut.
public struct Ownership: Sendable {
    public struct Piece: Sendable {
        /// The place of its parameter in the model.
        public let index: Int
        /// The parameter, or some rows of it, in the same memory.
        public let parameter: Parameter
        public let owner: Int
    }

    /// In the order of the model's parameters and of their rows.
    public let pieces: [Piece]

    public init(_ configuration: OptimizerConfiguration, parameters: [Parameter], ranks: Int) {
        guard ranks > 1 else {
            pieces = parameters.enumerated().map { Piece(index: $0, parameter: $1, owner: 0) }
            return
        }
        let slots = withoutMemory {
            Optimizer(configuration, parameters: parameters, pool: WorkerPool(threads: 1)).slots
        }
        let shares = slots.enumerated().flatMap { Share.all(of: $1, index: $0) }
        var (cost, bytes) = ([Double](repeating: 0, count: ranks), [Int](repeating: 0, count: ranks))
        var owners = [Int](repeating: 0, count: shares.count)
        // The costliest first, each to whom has the least to do; then the largest, to whom has the least memory.
        let order = shares.indices.sorted {
            (shares[$1].cost, shares[$1].bytes, $0) < (shares[$0].cost, shares[$0].bytes, $1)
        }
        for place in order {
            let share = shares[place]
            let owner = (0..<ranks).min {
                share.cost > 0 ? (cost[$0], $0) < (cost[$1], $1) : (bytes[$0], $0) < (bytes[$1], $1)
            }!
            owners[place] = owner
            cost[owner] += share.cost
            bytes[owner] += share.bytes
        }
        // Neighbouring rows of one owner are one piece.
        var pieces: [Piece] = []
        var start = 0
        for place in shares.indices {
            let (share, next) = (shares[place], place + 1)
            if next < shares.count, shares[next].index == share.index, owners[next] == owners[place] { continue }
            let parameter = parameters[share.index]
            let rows = shares[start].rows.lowerBound..<share.rows.upperBound
            pieces.append(
                Piece(
                    index: share.index,
                    parameter: rows.count == parameter.shape[0] ? parameter : Parameter(rows: rows, of: parameter),
                    owner: owners[place]))
            start = next
        }
        self.pieces = pieces
    }

    /// What one rank has.
    public func pieces(of rank: Int) -> [Piece] { pieces.filter { $0.owner == rank } }
}

/// What is given to one rank or another.
private struct Share {
    let index: Int
    let rows: Range<Int>
    /// The FLOPs of a mean step of a matrix; 0 where memory is what counts.
    let cost: Double
    /// Of the state.
    let bytes: Int

    static func all(of slot: Optimizer.Slot, index: Int) -> [Share] {
        let (parameter, count) = (slot.parameter, slot.parameter.shape[0])
        if slot.isWhole {
            return [Share(index: index, rows: 0..<count, cost: slot.meanFLOPs, bytes: slot.stateByteCount)]
        }
        let hasRows = slot.state.allSatisfy { $0.tensor.shape.first == count }
        let size =
            hasRows && (parameter.role == .embedding || parameter.role == .lmHead)
            ? GradientClipping.rowsOfWholeTasks(columns: parameter.count / count) : count
        return ranges(of: count, size: size).map {
            Share(index: index, rows: $0, cost: 0, bytes: slot.stateByteCount / count * $0.count)
        }
    }
}
