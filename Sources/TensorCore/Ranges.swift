/// 0 ..< `total` in consecutive ranges of `size`, the last of which may be shorter: work to be shared out as tasks.
public struct Ranges: RandomAccessCollection, Sendable {
    private let total: Int
    private let size: Int

    public var startIndex: Int { 0 }
    public var endIndex: Int { (total + size - 1) / size }
    public subscript(index: Int) -> Range<Int> { index * size..<Swift.min((index + 1) * size, total) }

    fileprivate init(total: Int, size: Int) { (self.total, self.size) = (total, size) }

    /// In as few ranges of at most `limit` as there can be, of about the same size, a multiple of 16.
    package init(_ total: Int, evenlyAtMost limit: Int) {
        let parts = Swift.max(1, total / limit + (total % limit > 0 ? 1 : 0))
        self.init(total: total, size: Swift.max(1, ((total + parts - 1) / parts + 15) & ~15))
    }

    /// Runs `body` for each range, in any order.
    public func forEach(on pool: WorkerPool, _ body: (Range<Int>) -> Void) {
        pool.forEach(count) { index, _ in body(self[index]) }
    }

    /// The sum of what `body` makes of each range, in their order.
    public func sum(on pool: WorkerPool, _ body: (Range<Int>) -> Double) -> Double {
        withUnsafeTemporaryAllocation(of: Double.self, capacity: count) { parts in
            pool.forEach(count) { index, _ in parts[index] = body(self[index]) }
            return parts.reduce(0, +)
        }
    }
}

/// The ranges of `size` (the last may be shorter) that cover 0 ..< `count`.
public func ranges(of count: Int, size: Int) -> Ranges { Ranges(total: count, size: size) }

extension Matrix {
    /// The rows in tiles of about 65,536 elements, by the shape alone.
    public var rowTiles: Ranges { ranges(of: rows, size: max(1, (1 << 16) / max(1, columns))) }
}
