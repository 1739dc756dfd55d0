import TensorCore

/// Work that may be done beside a phase's own, to keep its idle workers busy.
package enum SideTask<Element: ActivationElement> {
    case gradient(WeightGradientTile<Element>)
    /// Of a weight that the next phase reads.
    case packing(WeightOperand<Element>.PackingTask)

    package func run() {
        switch self {
        case .gradient(let tile): tile.add()
        case .packing(let task): task.run()
        }
    }
}

/// A tile of dW += dy' x, over all tokens of a micro-batch.
package struct WeightGradientTile<Element: ActivationElement> {
    /// [tokens, rows of the tile].
    let dy: Matrix<Element>
    /// [tokens, columns of the tile].
    let x: Matrix<Element>
    let gradient: Matrix<Float>

    func add() { multiply(dy.transposed, x.plain, into: gradient, accumulating: true) }
}

/// The tiles of one weight: of up to 256 rows, an even number of them, so that two workers, or four, are done at the
/// same time, and 256 columns.
package func weightGradientTiles<Element: ActivationElement>(
    _ linear: Linear<Element>, _ dy: Matrix<Element>, _ x: Matrix<Element>
) -> [SideTask<Element>] {
    let gradient = linear.parameter.gradient.matrix
    let parts = 2 * ((gradient.rows + 511) / 512)
    let rows = ranges(of: gradient.rows, size: ((gradient.rows + parts - 1) / parts + 15) & ~15)
    let columns = EvenRanges(gradient.columns, atMost: 256)
    return rows.flatMap { rows in
        (0..<columns.count).map {
            let columns = columns[$0]
            return .gradient(
                WeightGradientTile(
                    dy: dy.columns(rows), x: x.columns(columns), gradient: gradient.rows(rows).columns(columns)))
        }
    }
}
