import TensorCore

/// Work that may be done beside a phase's own, to keep its idle workers busy.
package enum SideTask<Element: ActivationElement> {
    case gradient(WeightGradient<Element>)
    /// Of a weight that the next phase reads.
    case packing(WeightOperand<Element>.PackingTask)

    package func run(_ arena: Arena, on pool: WorkerPool) {
        switch self {
        case .gradient(let rows): rows.add(arena, on: pool)
        case .packing(let task): task.run()
        }
    }
}

/// The x of weight gradients dW = dy' x, for all tokens of a micro-batch. Where weights are packed, it lies in panels,
/// which all rows of dW read.
package enum GradientInput<Element: ActivationElement> {
    /// Their own columns are padded.
    case panels(Panels<Element>, columns: Int)
    case rows(Matrix<Element>)

    package init(_ arena: Arena, tokens: Int, columns: Int) {
        self =
            Element.packsWeights
            ? .panels(Panels(arena, rows: tokens, columns: columns), columns: columns)
            : .rows(arena.matrix(tokens, columns, of: Element.self))
    }

    /// Sets some rows, the first of which is the first of a tile of tokens.
    package func set(_ rows: Range<Int>, to x: Matrix<Element>) {
        switch self {
        case .rows(let all): all.rows(rows).copy(from: x)
        case .panels(let panels, _):
            let padded = rounded(rows.count, to: Panels<Element>.rowStep)
            panels.pack(x, rows: rows.lowerBound..<rows.lowerBound + padded)
        }
    }

    /// The same with rows that `kernel` writes.
    func set(_ rows: Range<Int>, _ arena: Arena, _ kernel: (Matrix<Element>) -> Void) {
        switch self {
        case .rows(let all): kernel(all.rows(rows))
        case .panels(_, let columns):
            let x = arena.overlaid { arena.matrix(rows.count, columns, of: Element.self) }
            kernel(x)
            set(rows, to: x)
        }
    }
}

/// Some rows of dW += dy' x, over all tokens of a micro-batch.
///
/// dy' is transposed once, by stretches of 2,048 tokens; then idle workers take panels of dW's columns.
package struct WeightGradient<Element: ActivationElement> {
    /// [tokens, these rows].
    let dy: Matrix<Element>
    let x: GradientInput<Element>
    let gradient: Matrix<Float>

    /// Rows of dW in a task, at most.
    static var rows: Int { 256 }
    /// Columns of dW that a worker takes where weights are not packed.
    private static var columns: Int { 256 }
    /// Tokens whose dy' is in the scratch memory.
    private static var stretch: Int { 2048 }
    /// Tokens of a product: its operands stay in the second-level cache.
    private static var depth: Int { 512 }

    /// What `add` takes of an arena: dy' of a stretch.
    package static func scratch(_ arena: Arena, tokens: Int) {
        if Element.packsWeights { _ = memory(arena, tokens: tokens) }
    }

    private static func memory(_ arena: Arena, tokens: Int) -> UnsafeMutablePointer<Element> {
        arena.array(rows * rounded(min(tokens, stretch), to: Panels<Element>.rowStep), of: Element.self)
    }

    func add(_ arena: Arena, on pool: WorkerPool) {
        switch x {
        case .rows(let x): add(x, on: pool)
        case .panels(let panels, _): add(panels, arena, on: pool)
        }
    }

    private func add(_ panels: Panels<Element>, _ arena: Arena, on pool: WorkerPool) {
        let memory = Self.memory(arena, tokens: dy.rows)
        for tokens in ranges(of: dy.rows, size: Self.stretch) {
            let parts = ranges(of: tokens.count, size: Self.depth)
            /// dy' of a part, without gaps between its rows.
            func transposed(_ part: Range<Int>) -> Matrix<Element> {
                let count = rounded(part.count, to: Panels<Element>.rowStep)
                return Matrix(
                    memory + part.lowerBound * dy.columns, rows: dy.columns, columns: count, stride: count)
            }
            for part in parts {
                let dy = dy.rows(tokens).rows(part)
                dy.prefetch()
                dy.copyTransposed(to: transposed(part))
            }
            let panelColumns = ranges(of: gradient.columns, size: Panels<Element>.width)
            pool.forEach(panelColumns.count) { index, worker in
                let columns = panelColumns[index]
                let panel = panels.panel(at: columns.lowerBound)
                let sum = Matrix(
                    pool.tile(of: worker), rows: gradient.rows, columns: columns.count, stride: columns.count)
                for part in parts {
                    let dy = transposed(part)
                    let start = tokens.lowerBound + part.lowerBound
                    multiply(dy, panel.rows(start..<start + dy.columns), into: sum, accumulating: part.lowerBound > 0)
                }
                gradient.columns(columns).combine(with: sum) { $0 + $1 }
            }
        }
    }

    private func add(_ x: Matrix<Element>, on pool: WorkerPool) {
        let columns = Ranges(gradient.columns, evenlyAtMost: Self.columns)
        pool.forEach(columns.count) { index, _ in
            multiply(
                dy.transposed, x.rows(0..<dy.rows).columns(columns[index]).plain,
                into: gradient.columns(columns[index]), accumulating: true)
        }
    }
}

/// The tasks of one weight: an even number of them, so that two workers, or four, are done at the same time.
package func weightGradient<Element: ActivationElement>(
    _ linear: Linear<Element>, _ dy: Matrix<Element>, _ x: GradientInput<Element>
) -> [SideTask<Element>] {
    let gradient = linear.parameter.gradient.matrix
    let most = 2 * WeightGradient<Element>.rows
    let parts = 2 * ((gradient.rows + most - 1) / most)
    return ranges(of: gradient.rows, size: rounded((gradient.rows + parts - 1) / parts, to: 16)).map { rows in
        .gradient(WeightGradient(dy: dy.columns(rows), x: x, gradient: gradient.rows(rows)))
    }
}
