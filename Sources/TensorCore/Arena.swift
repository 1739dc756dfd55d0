import Glibc

/// Scratch memory of one worker: pieces are taken one after another and all given back by `reset`.
///
/// What needs scratch describes its pieces once, in an initializer that takes them from an arena;
/// `byteCount(of:)` runs the same initializer without memory to learn how much it takes. So memory
/// is allocated once, and no size is written down twice.
public final class Arena {
    private let memory: UnsafeMutableRawPointer?
    public let byteCount: Int
    private var used = 0
    private var peak = 0

    /// Every piece starts on a cache line.
    private static let alignment = 64

    public init(byteCount: Int) {
        self.byteCount = byteCount
        if DryAllocation.isOn {
            memory = nil
            return
        }
        let size = max(1, (byteCount + Arena.alignment - 1) / Arena.alignment) * Arena.alignment
        guard let memory = aligned_alloc(Arena.alignment, size) else {
            endWithoutMemory("\(size) bytes of scratch for a worker")
        }
        self.memory = memory
    }

    /// With memory for the pieces that `layout` takes.
    public convenience init(for layout: (Arena) -> Void) { self.init(byteCount: Arena.byteCount(of: layout)) }

    /// Hands out addresses that nobody may use, and counts.
    private init() {
        byteCount = .max
        memory = nil
    }

    deinit { free(memory) }

    /// The bytes that the pieces taken by `layout` need.
    public static func byteCount(of layout: (Arena) -> Void) -> Int {
        let counter = Arena()
        layout(counter)
        return counter.peak
    }

    public func reset() { used = 0 }

    /// Pieces taken within `layout` are given back after it: what is taken next lies over them.
    public func overlaid<Layout>(_ layout: () -> Layout) -> Layout {
        let start = used
        defer { used = start }
        return layout()
    }

    public func array<Element: BitwiseCopyable>(_ count: Int, of _: Element.Type) -> UnsafeMutablePointer<Element> {
        let offset = used
        let size = count * MemoryLayout<Element>.stride
        used += (size + Arena.alignment - 1) & ~(Arena.alignment - 1)
        peak = max(peak, used)
        require(used <= byteCount, "arena of \(byteCount) bytes is asked for \(used)")
        guard let memory else { return UnsafeMutablePointer(bitPattern: Arena.alignment + offset)! }
        return (memory + offset).bindMemory(to: Element.self, capacity: count)
    }

    public func matrix<Element: TensorElement>(
        _ rows: Int, _ columns: Int, of _: Element.Type = Float.self
    ) -> Matrix<Element> {
        Matrix(array(rows * columns, of: Element.self), rows: rows, columns: columns, stride: columns)
    }
}
