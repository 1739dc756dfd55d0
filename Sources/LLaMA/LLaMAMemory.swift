/// The memory of a model in bytes, by what it is for.
public struct LLaMAMemory: Codable, Equatable, Sendable {
    public var weights: Int
    public var gradients: Int
    /// Weights rounded to bfloat16; 0 in float32, where the weights themselves are the operands.
    public var weightOperands: Int
    /// What the forward pass of a micro-batch leaves for its backward pass.
    public var activations: Int
    /// Gradients of the residual stream and of norm gains.
    public var activationGradients: Int
    /// A chunk of logits, its losses and gradients; in the same memory, later, what the backward pass rebuilds.
    public var logits: Int
    /// Scratch of the workers, rotary tables.
    public var workspace: Int

    public var total: Int {
        weights + gradients + weightOperands + activations + activationGradients + logits + workspace
    }
}
