/// An arena for each worker, sized once, so that a step allocates nothing. A task takes the matrices that it needs
/// from its worker's arena, for as long as it runs.
public final class Workspace {
    private let arenas: [Arena]
    public let byteCount: Int

    /// Each worker's arena holds what `layout` takes.
    public init(workers: Int, layout: (Arena) -> Void) {
        let size = Arena.byteCount(of: layout)
        arenas = (0..<workers).map { _ in Arena(byteCount: size) }
        byteCount = size * workers
    }

    /// The arena of one worker, all of it free. Contents are whatever was left there.
    public func arena(of worker: Int) -> Arena {
        arenas[worker].reset()
        return arenas[worker]
    }
}
