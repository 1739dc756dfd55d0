import TensorCore

/// The order in which a run visits the windows of its data: every window exactly once an epoch, each
/// epoch in an order of its own, which the seed decides.
///
/// The order is a keyed permutation of 0 ..< windowCount that is computed, not stored: a balanced
/// Feistel network on the smallest fitting even number of bits (Luby and Rackoff 1988), walked until
/// the result is a window (Black and Rogaway 2002). So the sampler takes no memory however large the
/// data, and goes on at any position at once.
public struct BatchSampler: Sendable {
    /// Where the run stands in its data.
    public struct Position: Codable, Hashable, Sendable {
        /// Passes over the data that are complete.
        public var epoch: Int
        /// Windows of this epoch that are done.
        public var index: Int

        public init(epoch: Int = 0, index: Int = 0) {
            self.epoch = epoch
            self.index = index
        }
    }

    public let windowCount: Int
    public let seed: UInt64
    public private(set) var position: Position

    /// A round's key; enough rounds that the order of a small set is uniform, too.
    private var keys: [UInt64] = []
    private static let rounds = 12
    /// Bits of each half of a number.
    private let halfBits: UInt64

    public init(windowCount: Int, seed: UInt64, position: Position = Position()) {
        require(windowCount > 0, "sampler of \(windowCount) windows")
        require(
            position.epoch >= 0 && position.index >= 0 && position.index < windowCount,
            "sampler of \(windowCount) windows at position \(position)")
        self.windowCount = windowCount
        self.seed = seed
        self.position = position
        let bits = UInt64(max(8, Int.bitWidth - (windowCount - 1).leadingZeroBitCount))
        halfBits = (bits + 1) / 2
        setKeys()
    }

    /// The next `count` windows. A batch may end one epoch and begin the next.
    public mutating func next(_ count: Int) -> [Int] {
        (0..<count).map { _ in
            let window = permuted(position.index)
            position.index += 1
            if position.index == windowCount {
                position = Position(epoch: position.epoch + 1, index: 0)
                setKeys()
            }
            return window
        }
    }

    private mutating func setKeys() {
        var random = Random(seed: seed, stream: "data order, epoch \(position.epoch)")
        keys = (0..<Self.rounds).map { _ in random.next() }
    }

    private func permuted(_ index: Int) -> Int {
        let mask: UInt64 = (1 << halfBits) - 1
        var number = UInt64(index)
        repeat {
            var (left, right) = (number >> halfBits, number & mask)
            for key in keys {
                // The finalizer of MurmurHash3: every bit of the input sways every bit of the result.
                var hash = right &+ key
                hash = (hash ^ (hash >> 33)) &* 0xff51_afd7_ed55_8ccd
                hash = (hash ^ (hash >> 33)) &* 0xc4ce_b9fe_1a85_ec53
                hash ^= hash >> 33
                (left, right) = (right, left ^ (hash & mask))
            }
            number = left << halfBits | right
        } while number >= UInt64(windowCount)
        return Int(number)
    }
}
