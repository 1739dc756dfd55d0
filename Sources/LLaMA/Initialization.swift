import TensorCore

extension LLaMA {
    /// Initializes as Hugging Face does: every matrix and the embedding from N(0,
    /// `initializer_range`), without depth scaling; every norm gain 1.
    ///
    /// Each parameter draws from a stream of its own, named after it: its values depend on the seed,
    /// its name and its shape alone.
    public func initialize(seed: UInt64) {
        let deviation = config.initializerRange
        for parameter in parameters where parameter.role == .vector { parameter.weight.elements.update(repeating: 1) }
        let matrices = parameters.filter { $0.role != .vector }
        let parts = matrices.map { ranges(of: $0.count, size: 1 << 16) }
        // Where in its stream each part begins: to draw is cheap beside making normals of it.
        var streams = parts.map { $0.map { _ in Random(seed: 0, stream: "") } }
        streams.withUnsafeMutableBufferPointer { streams in
            pool.forEach(matrices.count, phase: "initialization: streams") { matrix, _ in
                var random = Random(seed: seed, stream: matrices[matrix].name)
                for (part, range) in parts[matrix].enumerated() {
                    streams[matrix][part] = random
                    for _ in stride(from: range.lowerBound, to: range.upperBound, by: 2) { random.skipNormalPair() }
                }
            }
        }
        let tasks = parts.indices.flatMap { matrix in parts[matrix].indices.map { (matrix, $0) } }
        pool.forEach(tasks.count, phase: "initialization") { task, _ in
            let (matrix, part) = tasks[task]
            let (weights, range) = (matrices[matrix].weight.elements, parts[matrix][part])
            var random = streams[matrix][part]
            for i in stride(from: range.lowerBound, to: range.upperBound, by: 2) {
                let (a, b) = random.normalPair()
                weights[i] = Float(a * deviation)
                if i + 1 < weights.count { weights[i + 1] = Float(b * deviation) }
            }
        }
    }
}
