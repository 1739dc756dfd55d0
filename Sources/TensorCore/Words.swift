// Elements by words of 32 bits: one of float32, or two of bfloat16 that follow each other along a product's sum, as packed
// operands have them. Kernels that only bring elements to another place move words as they are: in bfloat16 half as many
// as elements, and none is converted.

extension ActivationElement {
    /// The elements of a word.
    @inlinable @inline(__always)
    static var wordSize: Int { MemoryLayout<Float>.stride / MemoryLayout<Self>.stride }

    /// Stores sixteen words at any alignment.
    @inlinable @inline(__always)
    static func storeWords(_ words: Lanes, _ pointer: UnsafeMutablePointer<Self>) {
        UnsafeMutableRawPointer(pointer).storeBytes(of: words, as: Lanes.self)
    }
}

extension Matrix where Element: ActivationElement {
    /// Sixteen words of one row.
    @inlinable @inline(__always)
    func wordsAlong(row: Int, column: Int) -> Lanes {
        UnsafeRawPointer(self.row(row) + column).loadUnaligned(as: Lanes.self)
    }

    /// Sixteen words of as many columns, each with the elements of `wordSize` rows.
    @inlinable @inline(__always)
    func wordsDown(row: Int, column: Int) -> Lanes {
        if Element.wordSize == 1 { return wordsAlong(row: row, column: column) }
        func halves(_ row: Int) -> SIMD16<UInt16> {
            UnsafeRawPointer(self.row(row) + column).loadUnaligned(as: SIMD16<UInt16>.self)
        }
        return Lanes(pairs: halves(row), halves(row + 1))
    }

    /// Sixteen words whose elements are where `place` says; beyond the matrix they are 0.
    @inline(never) @usableFromInline
    func paddedWords(_ place: (_ word: Int, _ element: Int) -> (row: Int, column: Int)) -> Lanes {
        var words = Lanes.zero
        withUnsafeMutableBytes(of: &words) { bytes in
            let elements = bytes.bindMemory(to: Element.self)
            for index in elements.indices {
                let (row, column) = place(index / Element.wordSize, index % Element.wordSize)
                if row < rows, column < columns { elements[index] = self[row, column] }
            }
        }
        return words
    }

    /// Writes the transpose to `target`; where that has more columns they become 0.
    @_specialize(where Element == Float)
    @_specialize(where Element == BFloat16)
    public func copyTransposed(to target: Matrix) {
        require(
            target.rows == columns && target.columns >= rows,
            "transpose of \(rows)x\(columns) into \(target.rows)x\(target.columns)")
        let step = laneCount * Element.wordSize
        withUnsafeTemporaryAllocation(of: Lanes.self, capacity: laneCount) { square in
            for row in Swift.stride(from: 0, to: target.columns, by: step) {
                let stored = min(step, target.columns - row)
                for column in Swift.stride(from: 0, to: columns, by: laneCount) {
                    let isWhole = row + step <= rows && column + laneCount <= columns
                    func load(_ words: (_ row: Int) -> Lanes) {
                        for i in 0..<laneCount { square[i] = words(row + i * Element.wordSize) }
                    }
                    if isWhole {
                        load { wordsDown(row: $0, column: column) }
                    } else {
                        load { row in paddedWords { (row + $1, column + $0) } }
                    }
                    transpose(square.baseAddress!)
                    for i in 0..<min(laneCount, columns - column) {
                        let place = target.row(column + i) + row
                        if stored == step {
                            Element.storeWords(square[i], place)
                        } else {
                            UnsafeMutableRawPointer(place).copyMemory(
                                from: square.baseAddress! + i, byteCount: stored * MemoryLayout<Element>.stride)
                        }
                    }
                }
            }
        }
    }
}
