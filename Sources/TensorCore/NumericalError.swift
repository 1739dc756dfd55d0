/// A computation that went wrong on valid input: a value that is not finite, or a factorization
/// that did not converge. Stops a run; the message names the tensor.
public struct NumericalError: Error, CustomStringConvertible, Sendable {
    /// What failed, in words: "singular value decomposition did not converge".
    public let what: String
    /// The tensor it failed on, by its parameter's name.
    public let tensor: String

    public init(_ what: String, tensor: String) {
        self.what = what
        self.tensor = tensor
    }

    public var description: String { "\(tensor): \(what)" }
}

/// A numerical failure in a computation that does not know which tensor it works on. Whoever does
/// turns it into a `NumericalError`.
public struct NumericalFailure: Error, Sendable {
    public let what: String

    public init(_ what: String) { self.what = what }
}

/// The first tensor with a value that is not finite.
package func firstNonFinite(
    _ tensors: [(name: String, tensor: Tensor<Float>)], on pool: WorkerPool
) -> NumericalError? {
    tensors.first { !$0.tensor.matrix.isFinite(on: pool) }.map {
        NumericalError("a value is not finite", tensor: $0.name)
    }
}
