/// Orthogonalization by Newton-Schulz iteration (Jordan et al. 2024, "Muon"; Bernstein and Newhouse
/// 2024): replaces the singular values of a matrix by values near 1, without computing any.
///
///     X <- X / (|X| + eps)                                       |.| is Frobenius's norm
///     A = X Xᵀ ;  P = bA + cA² ;  X <- aX + P X      `steps` times          (a tall X is transposed before and after)
///
/// With the usual five steps of (3.4445, -4.7750, 2.0315) singular values end in [0.68, 1.15], those
/// below about 1/500 of |X| excepted; the polynomial gives up exactness for a steep slope at 0. Polar Express (Amsel,
/// Persson, Musco, Gower 2025) has a polynomial for each step, the best for what the one before leaves.
///
/// **On the Gram matrix** (Dao lab 2026). Where q is well above p, some steps run as a phase on p x p matrices, which
/// commute: A <- A (aI + P)², Q <- Q (aI + P); then X <- Q X. Rounding makes small eigenvalues of A negative, and each
/// step of a phase multiplies them by up to a², so a phase ends before that matters (see `phases`), and the next one
/// begins with A = X Xᵀ.
///
/// **Numerics.** X, A, P and Q are kept in float32, or in `bf16` each rounded once from sums in float32, as
/// `torch.optim.Muon` does; that needs a CPU that has instructions for it.
///
/// **Cost.** With p the smaller and q the larger dimension, a phase of k steps takes 3 p² q + (4 k - 3) p³ FLOPs, and
/// somewhat more: of symmetric products only tiles on and above the diagonal are computed, and mirrored. Right operands
/// are packed before each product, so that no tile copies them.
public struct NewtonSchulz: Sendable {
    public enum Precision: String, CaseIterable, Sendable { case fp32, bf16 }

    public enum Coefficients: Equatable, Sendable {
        case quintic
        case polarExpress
        /// a, b, c of every step.
        case fixed(SIMD3<Double>)

        /// a, b, c of a step; the last of several serve all that follow.
        package func callAsFunction(_ step: Int) -> SIMD3<Double> {
            switch self {
            case .quintic: Self.usual
            case .polarExpress: Self.polarExpressSteps[min(step, Self.polarExpressSteps.count - 1)]
            case .fixed(let coefficients): coefficients
            }
        }

        /// Keller Jordan's.
        public static let usual = SIMD3<Double>(3.4445, -4.7750, 2.0315)

        /// For singular values from 10⁻³ of the norm, with a margin of 2 % for rounding, as modded-nanogpt has them.
        private static let polarExpressSteps: [SIMD3<Double>] = [
            SIMD3(8.156554524902461, -22.48329292557795, 15.878769915207462),
            SIMD3(4.042929935166739, -2.808917465908714, 0.5000178451051316),
            SIMD3(3.8916678022926607, -2.772484153217685, 0.5060648178503393),
            SIMD3(3.285753657755655, -2.3681294933425376, 0.46449024233003106),
            SIMD3(2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
        ]

        /// What a norm is multiplied by, so that no singular value passes 1 by rounding, and what is added to it.
        fileprivate var norm: (factor: Float, eps: Float) { self == .polarExpress ? (1.02, 1e-6) : (1, 1e-7) }
    }

    public let coefficients: Coefficients
    public let steps: Int
    public let precision: Precision

    public init(coefficients: Coefficients = .quintic, steps: Int = 5, precision: Precision = .fp32) {
        self.coefficients = coefficients
        self.steps = steps
        self.precision = precision
    }

    /// Scratch for one m x n matrix.
    public enum Scratch {
        case fp32(NewtonSchulzScratch<Float>)
        case bf16(NewtonSchulzScratch<BFloat16>)
    }

    /// Takes the scratch for one matrix from `arena`.
    public func scratch(_ arena: Arena, rows: Int, columns: Int) -> Scratch {
        let hasPhases = phases(rows: rows, columns: columns).contains { $0.count > 1 }
        return switch precision {
        case .fp32: .fp32(NewtonSchulzScratch(arena, rows, columns, hasPhases: hasPhases))
        case .bf16: .bf16(NewtonSchulzScratch(arena, rows, columns, hasPhases: hasPhases))
        }
    }

    public func flops(rows: Int, columns: Int) -> Int {
        let (p, q) = (min(rows, columns), max(rows, columns))
        return phases(rows: rows, columns: columns).reduce(0) { $0 + Self.flops($1, p, q) }
    }

    private static func flops(_ phase: Range<Int>, _ p: Int, _ q: Int) -> Int {
        3 * p * p * q + (4 * phase.count - 3) * p * p * p
    }

    /// The steps that are taken between two products with X: one each, or several on the Gram matrix where that saves
    /// at least a tenth.
    ///
    /// With the usual coefficients, phases of five steps in float32 and of two in bfloat16, where the first step stays
    /// alone, give results as near to the polar factor as single steps do, for ill-conditioned and rank-deficient
    /// matrices too. Longer ones do not, nor do Polar Express's larger coefficients; small matrices are more sensitive.
    package func phases(rows: Int, columns: Int) -> [Range<Int>] {
        let (p, q) = (min(rows, columns), max(rows, columns))
        let single = (0..<steps).map { $0..<$0 + 1 }
        guard coefficients == .quintic, p >= 64 else { return single }
        let (longest, alone) = precision == .fp32 ? (5, 0) : (2, 1)
        var phases: [Range<Int>] = []
        var end = steps
        while end > 0 {
            let start = end > alone ? max(alone, end - longest) : 0
            phases.insert(start..<end, at: 0)
            end = start
        }
        func cost(_ phases: [Range<Int>]) -> Int { phases.reduce(0) { $0 + Self.flops($1, p, q) } }
        return 10 * cost(phases) <= 9 * cost(single) ? phases : single
    }

    /// Replaces `x`, whose Frobenius norm is known, by its orthogonalization. Zero stays zero; a value that is not finite
    /// makes the result NaN. Idle workers of `pool` help.
    public func orthogonalize(_ x: Matrix<Float>, norm: Double, _ scratch: Scratch, on pool: WorkerPool) {
        require(x.isContiguous, "Newton-Schulz on a matrix with gaps")
        switch scratch {
        case .fp32(let scratch): orthogonalize(x, norm, scratch, pool)
        case .bf16(let scratch): orthogonalize(x, norm, scratch, pool)
        }
    }

    public func orthogonalize(_ x: Matrix<Float>, _ scratch: Scratch, on pool: WorkerPool) {
        orthogonalize(x, norm: x.frobeniusNorm(on: pool), scratch, on: pool)
    }

    private func orthogonalize<Element: ActivationElement>(
        _ x: Matrix<Float>, _ norm: Double, _ scratch: NewtonSchulzScratch<Element>, _ pool: WorkerPool
    ) {
        let isTall = x.rows > x.columns
        let iterate = isTall ? scratch.iterate : Element.operand(x, storage: scratch.iterate)
        let norm = Lanes(repeating: Float(norm) * coefficients.norm.factor + coefficients.norm.eps)
        convert(x, into: iterate, transposing: isTall, pool) { $0 / norm }
        for phase in phases(rows: x.rows, columns: x.columns) { run(phase, iterate, scratch, pool) }
        if isTall || Element.self != Float.self { convert(iterate, into: x, transposing: isTall, pool) { $0 } }
    }

    /// y = f(x), or its transpose.
    @inline(__always)
    private func convert<A: TensorElement, B: TensorElement>(
        _ x: Matrix<A>, into y: Matrix<B>, transposing: Bool, _ pool: WorkerPool, _ f: (Lanes) -> Lanes
    ) {
        if transposing {
            return ranges(of: x.rows, size: laneCount).forEach(on: pool) { rows in
                x.rows(rows).copyTransposed(to: y.columns(rows), f)
            }
        }
        x.rowTiles.forEach(on: pool) { rows in
            for row in rows {
                forEachLanes(x.columns) { column, count in
                    B.store(f(A.load(x.row(row) + column, count: count)), y.row(row) + column, count: count)
                }
            }
        }
    }

    /// X = aX + P X after a single step, Q X after several.
    private func run<Element: ActivationElement>(
        _ phase: Range<Int>, _ x: Matrix<Element>,
        _ scratch: NewtonSchulzScratch<Element>, _ pool: WorkerPool
    ) {
        let gram = scratch.gram
        var (polynomial, factor, other) = (scratch.polynomial, scratch.factor, scratch.other)
        ranges(of: x.rows, size: Panels<Element>.width).forEach(on: pool) {
            scratch.transposedX.panel(at: $0.lowerBound).packTransposed(x.rows($0))
        }
        symmetricProduct(x, scratch.transposedX, into: gram, pool) { product, _, _, _ in product }
        for step in phase {
            let coefficients = SIMD3<Float>(self.coefficients(step))
            let (a, b, c) = (
                Lanes(repeating: coefficients.x), Lanes(repeating: coefficients.y), Lanes(repeating: coefficients.z)
            )
            /// y (aI + P)
            func advance(_ y: Matrix<Element>, into result: Matrix<Element>) {
                symmetricProduct(y, scratch.packedGram, into: result, pool) { product, row, column, count in
                    Element.load(y.row(row) + column, count: count).multiplyAdd(a, product)
                }
            }
            pack(gram, scratch.packedGram, pool)
            symmetricProduct(gram, scratch.packedGram, into: polynomial, pool) { product, row, column, count in
                Element.load(gram.row(row) + column, count: count).multiplyAdd(b, product * c)
            }
            if phase.count == 1 { return apply(polynomial, to: x, adding: a, scratch, pool) }
            pack(polynomial, scratch.packedGram, pool)
            if step + 1 < phase.upperBound {
                advance(gram, into: other)
                advance(other, into: gram)
            }
            if step > phase.lowerBound {
                advance(factor, into: other)
                swap(&factor, &other)
            } else {
                swap(&factor, &polynomial)
                for row in 0..<factor.rows {
                    factor[row, row] = Element(factor[row, row].float + coefficients.x)
                }
            }
        }
        apply(factor, to: x, adding: .zero, scratch, pool)
    }

    /// x = p x + a x
    private func apply<Element: ActivationElement>(
        _ p: Matrix<Element>, to x: Matrix<Element>, adding a: Lanes,
        _ scratch: NewtonSchulzScratch<Element>, _ pool: WorkerPool
    ) {
        pack(x, scratch.packedX, pool)
        let (rowTiles, columnTiles) = (ranges(of: x.rows, size: Self.tileRows), ranges(of: x.columns, size: tileOrder))
        pool.forEach(rowTiles.count * columnTiles.count) { index, worker in
            let (rows, columns) = (rowTiles[index % rowTiles.count], columnTiles[index / rowTiles.count])
            let tile = product(p, scratch.packedX, rows, columns, pool, worker)
            for row in 0..<rows.count {
                let x = x.row(rows.lowerBound + row) + columns.lowerBound
                forEachLanes(columns.count) { column, count in
                    let sum = Element.load(x + column, count: count).multiplyAdd(
                        a, Float.load(tile.row(row) + column, count: count))
                    Element.store(sum, x + column, count: count)
                }
            }
        }
    }

    /// Rows of a tile of a product with X.
    private static let tileRows = 128

    /// Some rows and columns of a b, in the worker's memory.
    private func product<Element: ActivationElement>(
        _ a: Matrix<Element>, _ b: Panels<Element>, _ rows: Range<Int>, _ columns: Range<Int>, _ pool: WorkerPool,
        _ worker: Int
    ) -> Matrix<Float> {
        let tile = Matrix(pool.tile(of: worker), rows: rows.count, columns: columns.count, stride: columns.count)
        let panels = columns.lowerBound..<rounded(columns.upperBound, to: Panels<Element>.width)
        multiply(a.rows(rows), b.columns(panels), into: tile, accumulating: false)
        return tile
    }

    /// c = f(a b), where both are symmetric; f is elementwise and told where in c its lanes stand.
    @inline(__always)
    private func symmetricProduct<Element: ActivationElement>(
        _ a: Matrix<Element>, _ b: Panels<Element>, into c: Matrix<Element>, _ pool: WorkerPool,
        _ f: (Lanes, _ row: Int, _ column: Int, _ count: Int) -> Lanes
    ) {
        // On and above the diagonal, 64 rows by 128 columns, which stay in cache while rows go by.
        let width = Panels<Element>.width
        let tiles = ranges(of: c.columns, size: 2 * width).flatMap { columns in
            ranges(of: columns.upperBound, size: width).map { rows in
                (rows, max(rows.lowerBound, columns.lowerBound)..<columns.upperBound)
            }
        }
        pool.forEach(tiles.count) { index, worker in
            let (rows, columns) = tiles[index]
            let tile = product(a, b, rows, columns, pool, worker)
            for row in 0..<rows.count {
                forEachLanes(columns.count) { column, count in
                    let values = f(
                        Float.load(tile.row(row) + column, count: count), rows.lowerBound + row,
                        columns.lowerBound + column, count)
                    Element.store(values, c.row(rows.lowerBound + row) + columns.lowerBound + column, count: count)
                }
            }
            let beyond = max(columns.lowerBound, rows.upperBound)..<max(columns.upperBound, rows.upperBound)
            c.rows(rows).columns(beyond).copyTransposed(to: c.rows(beyond).columns(rows))
        }
    }

    private func pack<Element: ActivationElement>(_ x: Matrix<Element>, _ panels: Panels<Element>, _ pool: WorkerPool) {
        ranges(of: x.columns, size: Panels<Element>.width).forEach(on: pool) {
            panels.panel(at: $0.lowerBound).pack(x.columns($0))
        }
    }
}

/// Memory of `NewtonSchulz` for one matrix, p x q with p <= q, or its transpose.
public struct NewtonSchulzScratch<Element: ActivationElement> {
    /// X: p x q. In float32 a matrix that is not tall is its own.
    fileprivate let iterate: Matrix<Element>
    /// p x p.
    fileprivate let gram, polynomial: Matrix<Element>
    /// p x p where there are phases of several steps.
    fileprivate let factor, other: Matrix<Element>
    /// Right operands, one after another in the same memory: q x p, p x p, p x q.
    fileprivate let transposedX, packedGram, packedX: Panels<Element>

    init(_ arena: Arena, _ rows: Int, _ columns: Int, hasPhases: Bool) {
        let (p, q) = (min(rows, columns), max(rows, columns))
        iterate = arena.matrix(Element.self == Float.self && rows <= columns ? 0 : p, q, of: Element.self)
        gram = arena.matrix(p, p, of: Element.self)
        polynomial = arena.matrix(p, p, of: Element.self)
        (factor, other) = (
            arena.matrix(hasPhases ? p : 0, p, of: Element.self), arena.matrix(hasPhases ? p : 0, p, of: Element.self)
        )
        transposedX = arena.overlaid { Panels(arena, rows: q, columns: p) }
        packedGram = arena.overlaid { Panels(arena, rows: p, columns: p) }
        packedX = arena.overlaid { Panels(arena, rows: p, columns: q) }
    }
}
