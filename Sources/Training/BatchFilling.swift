import LLaMA
import TokenData

extension TokenBatch {
    /// Copies windows of a data set in; the memory is used again.
    mutating func fill(_ windows: ArraySlice<Int>, from dataset: TokenDataset) throws {
        sequences = windows.count
        let length = dataset.sequenceLength
        if tokens.count != sequences * length {
            tokens = [Int32](repeating: 0, count: sequences * length)
            targets = tokens
        }
        try tokens.withUnsafeMutableBufferPointer { tokens in
            try targets.withUnsafeMutableBufferPointer { targets in
                for (row, window) in windows.enumerated() {
                    let range = row * length..<(row + 1) * length
                    try dataset.window(
                        window, tokens: UnsafeMutableBufferPointer(rebasing: tokens[range]),
                        targets: UnsafeMutableBufferPointer(rebasing: targets[range]))
                }
            }
        }
    }
}

extension Array {
    /// The elements in order, `size` at a time; the last chunk may have fewer.
    func chunks(of size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
    }
}
