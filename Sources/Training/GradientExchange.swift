import Optimizers
import Ranks
import TensorCore

/// Brings each piece's gradient, summed over all ranks, to its owner, and the owners' new weights to all.
///
/// Gradients by recursive halving, the nearest rank first: a rank sends what its peer's half of the ranks owns, and adds
/// what it receives to the rest, which is then the sum of a subtree of twice as many lanes; then the same with the rank
/// twice as far away. The additions are ours and in the order of `LaneSum`'s tree, whatever the number of ranks. Weights
/// go the same way back. Each rank sends and receives 4 (N - 1)/N bytes a parameter each time.
package final class GradientExchange {
    private let parameters: [Parameter]
    private let pieces: [Ownership.Piece]
    private let ranks: Ranks
    private let pool: WorkerPool
    private let received: Tensor<Float>?
    /// Of all exchanges so far.
    private(set) var seconds = 0.0

    /// The elements of a chunk. Smaller ones cost more to agree on, larger ones more memory.
    static let chunkSize = 1 << 18

    package init(_ parameters: [Parameter], _ pieces: [Ownership.Piece], _ ranks: Ranks, pool: WorkerPool) {
        (self.parameters, self.pieces, self.ranks, self.pool) = (parameters, pieces, ranks, pool)
        received = ranks.count > 1 ? Tensor(Self.chunkSize * Ranks.chunksUnderWay) : nil
    }

    /// After this the gradients of what this rank owns are the sum of all ranks', and the others good for nothing.
    package func reduce() throws {
        guard let received else { return }
        func place(_ index: Int) -> UnsafeMutablePointer<Float> {
            received.data + index % Ranks.chunksUnderWay * Self.chunkSize
        }
        for distance in distances {
            let own = chunks(of: ranks.rank, distance) { $0.gradient }
            try exchange(
                distance, sending: chunks(of: ranks.rank ^ distance, distance) { $0.gradient },
                receiving: own.enumerated().map { .init(start: place($0), count: $1.count) }
            ) { index in
                let (sum, other) = (Matrix(row: own[index]), place(index))
                let parts = ranges(of: sum.columns, size: 1 << 15)
                pool.forEach(parts.count, phase: "sum of ranks") { task, _ in
                    let part = parts[task]
                    sum.columns(part).combine(
                        with: Matrix(row: UnsafeMutableBufferPointer(start: other + part.lowerBound, count: part.count))
                    ) { $1 + $0 }
                }
            }
        }
    }

    /// After this all ranks have the weights of all owners.
    package func gather() throws {
        for distance in distances.reversed() {
            try exchange(
                distance, sending: chunks(of: ranks.rank, distance) { $0.weight },
                receiving: chunks(of: ranks.rank ^ distance, distance) { $0.weight })
        }
        // What is known of pieces is not known of the parameters that they are rows of.
        if ranks.count > 1 { for parameter in parameters { _ = parameter.weight } }
    }

    /// After this all ranks have the first one's weights.
    func broadcast() throws {
        for distance in distances.reversed() where ranks.rank.isMultiple(of: distance) {
            let all = parameters.flatMap { chunks($0.weight) }
            let isSender = ranks.rank.isMultiple(of: 2 * distance)
            try exchange(
                distance, sending: isSender ? all : [], receiving: isSender ? [] : all)
        }
    }

    private var distances: [Int] { (0..<ranks.count.trailingZeroBitCount).map { 1 << $0 } }

    /// What `rank` owns, and the ranks that differ from it only in bits above that of `distance`.
    private func chunks(
        of rank: Int, _ distance: Int, _ tensor: (Parameter) -> Tensor<Float>
    ) -> [UnsafeMutableBufferPointer<Float>] {
        pieces.filter { ($0.owner ^ rank) & (2 * distance - 1) == 0 }.flatMap { chunks(tensor($0.parameter)) }
    }

    private func chunks(_ tensor: Tensor<Float>) -> [UnsafeMutableBufferPointer<Float>] {
        ranges(of: tensor.count, size: Self.chunkSize).map {
            UnsafeMutableBufferPointer(rebasing: tensor.elements[$0])
        }
    }

    private func exchange(
        _ distance: Int, sending: [UnsafeMutableBufferPointer<Float>], receiving: [UnsafeMutableBufferPointer<Float>],
        then take: (Int) -> Void = { _ in }
    ) throws {
        let started = ContinuousClock.now
        defer { seconds += (ContinuousClock.now - started) / .seconds(1) }
        try ranks.exchange(ranks.rank ^ distance, count: max(sending.count, receiving.count)) { index in
            (
                UnsafeRawBufferPointer(index < sending.count ? sending[index] : .init(start: nil, count: 0)),
                UnsafeMutableRawBufferPointer(index < receiving.count ? receiving[index] : .init(start: nil, count: 0))
            )
        } take: { index in
            if index < receiving.count { take(index) }
        }
    }
}

extension Matrix<Float> {
    fileprivate init(row: UnsafeMutableBufferPointer<Float>) {
        self.init(row.baseAddress!, rows: 1, columns: row.count, stride: row.count)
    }
}
