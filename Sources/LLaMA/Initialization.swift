import Glibc
import TensorCore

extension LLaMA {
    /// Initializes as Hugging Face does: every matrix and the embedding from N(0,
    /// `initializer_range`), without depth scaling; every norm gain 1.
    ///
    /// Each parameter draws from a stream of its own, named after it: its values depend on the seed,
    /// its name and its shape alone.
    public func initialize(seed: UInt64) {
        let deviation = config.initializerRange
        let parameters = parameters
        pool.forEach(parameters.count) { index, _ in
            let parameter = parameters[index]
            let weights = parameter.weight.elements
            if parameter.role == .vector {
                weights.update(repeating: 1)
                return
            }
            var random = Random(seed: seed, stream: parameter.name)
            for i in stride(from: 0, to: weights.count, by: 2) {
                let (a, b) = random.normalPair()
                weights[i] = Float(a * deviation)
                if i + 1 < weights.count { weights[i + 1] = Float(b * deviation) }
            }
        }
    }
}
