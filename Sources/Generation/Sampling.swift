import Foundation
import TensorCore

/// How the next token is chosen from a model's logits.
///
/// The distribution is softmax(logits / temperature), cut to the `topK` most probable tokens, then to the
/// fewest most probable of these that together have a probability of `topP` or more (Holtzman et al. 2020,
/// nucleus sampling), and renormalized. All in Double; equal logits keep the order of their ids.
public struct Sampling: Sendable {
    /// 0 takes the most probable token.
    public var temperature: Double
    /// 0: no such cut.
    public var topK: Int
    /// 1: no such cut.
    public var topP: Double

    public init(temperature: Double = 1, topK: Int = 0, topP: Double = 1) {
        require(temperature >= 0 && topK >= 0 && topP > 0 && topP <= 1, "sampling \(temperature) \(topK) \(topP)")
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
    }

    /// The tokens that may come, with their probabilities, which sum to 1.
    public func distribution(_ logits: some Collection<Float>) -> [(token: Int32, probability: Double)] {
        require(!logits.isEmpty, "a distribution over no tokens")
        let largest = Double(logits.max() ?? 0)
        guard temperature > 0 else {
            let first = logits.enumerated().first { Double($0.element) == largest }
            return [(Int32(first?.offset ?? 0), 1)]
        }
        var tokens = logits.enumerated().map {
            (token: Int32($0.offset), probability: exp((Double($0.element) - largest) / temperature))
        }
        if (topK > 0 && topK < tokens.count) || topP < 1 {
            tokens.sort { ($1.probability, $0.token) < ($0.probability, $1.token) }
            if topK > 0 { tokens = Array(tokens.prefix(topK)) }
            let enough = topP * tokens.reduce(0) { $0 + $1.probability }
            var sum = 0.0
            let nucleus = tokens.firstIndex { token in
                sum += token.probability
                return sum >= enough
            }
            if topP < 1, let nucleus { tokens = Array(tokens[...nucleus]) }
        }
        let total = tokens.reduce(0) { $0 + $1.probability }
        return tokens.map { ($0.token, $0.probability / total) }
    }

    public func next(_ logits: some Collection<Float>, random: inout Random) -> Int32 {
        let tokens = distribution(logits)
        var rest = random.uniform()
        for (token, probability) in tokens {
            rest -= probability
            if rest < 0 { return token }
        }
        // Rounding left a crumb.
        return tokens[tokens.count - 1].token
    }
}
