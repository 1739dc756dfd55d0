import Configuration
import Glibc

/// The factor that every learning rate is multiplied by, step by step.
///
/// With s the step from 0, N all steps, w those of the warm-up, f = `final_ratio`:
///
///     warm-up    s / w                          for s < w: the first step has factor 0
///     constant   1
///     linear     1 - (1 - f) x                  x = (s - w) / (N - w)
///     cosine     f + (1 - f) (1 + cos(pi x)) / 2
///     wsd        1, then over the last d steps  1 - (1 - f) (s - (N - d)) / d
///
/// These are Hugging Face's and GaLore's conventions: factor f itself would be reached by step N, the
/// one after the last. But with f > 0 Hugging Face's WSD warms up from f; here every warm-up begins at 0.
public struct LearningRateSchedule: ConfigurationSection, Equatable {
    public enum Shape: String, CaseIterable, ConfigurationValue { case constant, linear, cosine, wsd }

    public var shape = Shape.linear
    public var warmup = StepSpan.percent(10)
    public var finalRatio = 0.0
    public var decay = StepSpan.percent(10)

    public init() {}

    public init(_ shape: Shape, warmup: StepSpan, finalRatio: Double = 0, decay: StepSpan = .percent(10)) {
        (self.shape, self.warmup, self.finalRatio, self.decay) = (shape, warmup, finalRatio, decay)
    }

    public static var fields: [Field<Self>] {
        [
            .init("name", \.shape, "how the learning rate goes after the warm-up"),
            .init("warmup", \.warmup, "linear rise from 0"),
            .init("final_ratio", \.finalRatio, "learning rate at the end over that at the top", .range(0...1)),
            .init("decay", \.decay, "length of the fall at the end, for wsd"),
        ]
    }

    /// Why the schedule can't serve a run of `steps` steps; nil if it can.
    public func problem(forRunOf steps: Int) -> FieldError? {
        let (rise, fall) = (warmup.steps(of: steps), shape == .wsd ? decay.steps(of: steps) : 0)
        if rise > steps {
            return FieldError("warmup", "a warm-up of \(rise) steps is longer than the run of \(steps)")
        }
        if rise + fall > steps {
            return FieldError(
                "decay", "warm-up (\(rise) steps) and decay (\(fall)) are longer than the run of \(steps)")
        }
        return nil
    }

    public func factor(step: Int, of steps: Int) -> Double {
        let rise = warmup.steps(of: steps)
        if step < rise { return Double(step) / Double(rise) }
        func fallen(from start: Int) -> Double {
            min(1, Double(step - start) / Double(max(1, steps - start)))
        }
        switch shape {
        case .constant: return 1
        case .linear: return 1 - (1 - finalRatio) * fallen(from: rise)
        case .cosine: return finalRatio + (1 - finalRatio) * 0.5 * (1 + cos(.pi * fallen(from: rise)))
        case .wsd: return 1 - (1 - finalRatio) * max(0, fallen(from: steps - decay.steps(of: steps)))
        }
    }

    /// The steps that a run of `steps` makes before its rate falls: from there it can be made longer. Nil where the rate
    /// does not fall in a phase at the end.
    public func decayStart(of steps: Int) -> Int? { shape == .wsd ? steps - decay.steps(of: steps) : nil }
}

/// A number of steps, given as one or as a share of the run: `500` or `10%`.
public enum StepSpan: ConfigurationValue, Equatable {
    case steps(Int)
    case percent(Double)

    public static var typeName: String { "a number of steps, or a share of the run such as 10%" }

    public init(configuration node: ConfigurationNode) throws {
        if let text = node.text, text.hasSuffix("%"), let percent = Double(text.dropLast()), (0...100).contains(percent)
        {
            self = .percent(percent)
        } else if let steps = try? Int(configuration: node), (0...1 << 40).contains(steps) {
            self = .steps(steps)
        } else {
            throw node.mismatch(Self.typeName)
        }
    }

    public var yaml: String {
        switch self {
        case .steps(let steps): steps.yaml
        case .percent(let percent): "\(percent.yaml)%"
        }
    }

    public func steps(of total: Int) -> Int {
        switch self {
        case .steps(let steps): steps
        case .percent(let percent): Int((percent / 100 * Double(total)).rounded())
        }
    }
}
