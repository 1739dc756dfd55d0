import Checkpoints
import ModelFiles
import Optimizers
import Ranks
import TensorCore

/// The optimizer's state, which lies with those who own it, as the first rank reads and writes it: piece by piece, so
/// that no rank ever has more than its own.
final class SharedState {
    /// As one process would have it; without memory where there are several ranks.
    let tensors: [NamedTensor]
    /// Consecutive elements of a tensor that one rank has.
    private struct Part {
        let owner: Int
        let range: Range<Int>
        /// nil: it lies with another rank.
        let local: Tensor<Float>?
    }
    private let parts: [[Part]]
    private let ranks: Ranks
    private let chunk: UnsafeMutableBufferPointer<Float>

    private static let chunkSize = SafeTensors.elementsAtOnce

    init(_ optimizer: Optimizer, _ ownership: Ownership, parameters: [Parameter], _ ranks: Ranks) {
        self.ranks = ranks
        chunk = .allocate(capacity: ranks.count > 1 ? Self.chunkSize : 0)
        guard ranks.count > 1 else {
            (tensors, parts) = (optimizer.state, [])
            return
        }
        let all = withoutMemory {
            Optimizer(
                optimizer.configuration, parameters: parameters, pieces: ownership.pieces, pool: WorkerPool(threads: 1))
        }
        var own = optimizer.slots[...]
        var names: [String] = []
        var shapes: [String: [Int]] = [:]
        var parts: [String: [Part]] = [:]
        for (piece, slot) in zip(ownership.pieces, all.slots) {
            let local = piece.owner == ranks.rank ? own.removeFirst().state : nil
            for (place, state) in slot.state.enumerated() {
                let name = "\(slot.parameter.name).\(state.name)"
                if shapes[name] == nil { names.append(name) }
                // Pieces of one parameter are rows.
                let rows = (shapes[name]?[0] ?? 0) + state.tensor.shape[0]
                shapes[name] = [rows] + state.tensor.shape.dropFirst()
                let start = parts[name]?.last?.range.upperBound ?? 0
                parts[name, default: []].append(
                    Part(
                        owner: piece.owner, range: start..<start + state.tensor.count,
                        local: local?[place].tensor))
            }
        }
        tensors = withoutMemory { names.map { NamedTensor($0, Tensor(shapes[$0]!)) } }
        self.parts = names.map { parts[$0]! }
    }

    deinit { chunk.deallocate() }

    /// Runs `body` on the first rank, which may read and write all state meanwhile. All throw what it throws.
    func withFirst(_ body: () throws -> Void) throws {
        try ranks.together {
            guard ranks.isFirst else { return try serve() }
            let result = Result(catching: body)
            if case .failure(let error as SilentRank) = result { throw error }
            for other in 1..<ranks.count { try request(other, [0, 0, 0, 0, 0]) }
            try result.get()
        }
    }

    /// The elements of a tensor, good until the next are read; nil: where there is one process, they are in `tensors`.
    var read: ((_ tensor: Int, Range<Int>) throws -> UnsafeMutableBufferPointer<Float>)? {
        if ranks.count == 1 { return nil }
        return { [self] tensor, range in
            try forEachPart(tensor, range) { part, local, overlap in
                let target = UnsafeMutableBufferPointer(
                    rebasing: chunk[overlap.lowerBound - range.lowerBound..<overlap.upperBound - range.lowerBound])
                if let local { return target.baseAddress!.update(from: local, count: overlap.count) }
                try request(parts[tensor][part].owner, [1, tensor, part, overlap.lowerBound, overlap.count])
                try ranks.exchange(parts[tensor][part].owner, receive: .init(target))
            }
            return UnsafeMutableBufferPointer(rebasing: chunk[..<range.count])
        }
    }

    /// Hands what `read` reads to the owners; nil where there is one process.
    var write: ((_ tensor: Int, _ read: Checkpoint.Reader) throws -> Void)? {
        if ranks.count == 1 { return nil }
        return { [self] tensor, read in
            for range in ranges(of: tensors[tensor].tensor.count, size: Self.chunkSize) {
                try forEachPart(tensor, range) { part, local, overlap in
                    if let local { return try read(overlap.lowerBound, .init(start: local, count: overlap.count)) }
                    let source = UnsafeMutableBufferPointer(rebasing: chunk[..<overlap.count])
                    try read(overlap.lowerBound, source)
                    try request(parts[tensor][part].owner, [2, tensor, part, overlap.lowerBound, overlap.count])
                    try ranks.exchange(parts[tensor][part].owner, send: .init(source))
                }
            }
        }
    }

    /// The parts that some elements of a tensor fall into, where they lie in this rank's memory, and which they are.
    private func forEachPart(
        _ tensor: Int, _ range: Range<Int>,
        _ body: (_ part: Int, _ local: UnsafeMutablePointer<Float>?, _ overlap: Range<Int>) throws -> Void
    ) rethrows {
        for (index, part) in parts[tensor].enumerated() where part.range.overlaps(range) {
            let overlap = part.range.clamped(to: range)
            try body(index, part.local.map { $0.data + overlap.lowerBound - part.range.lowerBound }, overlap)
        }
    }

    private func request(_ owner: Int, _ words: [Int]) throws {
        try words.withUnsafeBytes { try ranks.exchange(owner, send: $0) }
    }

    /// Does what the first rank asks for, until it has all: 1 hands elements of a part over, 2 takes them.
    private func serve() throws {
        while true {
            var words = [Int](repeating: 0, count: 5)
            try words.withUnsafeMutableBytes { try ranks.exchange(0, receive: $0) }
            if words[0] == 0 { return }
            let part = parts[words[1]][words[2]]
            let elements = UnsafeMutableBufferPointer(
                start: part.local!.data + words[3] - part.range.lowerBound, count: words[4])
            try words[0] == 1
                ? ranks.exchange(0, send: .init(elements)) : ranks.exchange(0, receive: .init(elements))
        }
    }
}
