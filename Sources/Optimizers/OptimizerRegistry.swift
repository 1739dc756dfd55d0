import Configuration
import TensorCore

/// Every optimizer there is. A new one needs its row here.
public var optimizerRules: [any OptimizerRule.Type] {
    [AdamW.self, AdamMini.self, GaLore.self, Muon.self, SOAP.self, COSMOS.self]
}

private var optimizerChoice: String { "choose one of " + optimizerRules.map { $0.name }.joined(separator: ", ") }

/// The error about an optimizer that there is none of.
public func unknownOptimizer(_ name: String, at place: String = "") -> UserError {
    let nearest = closestMatch(to: name, in: optimizerRules.map { $0.name })
    return UserError(
        .usage, "\(place)there is no optimizer \(name)",
        hint: nearest.map { "did you mean `\($0)`?" } ?? optimizerChoice)
}

/// The `optimizer:` section of a configuration: which optimizer, with which settings.
public struct OptimizerConfiguration: Sendable {
    public let name: String
    public let hyperparameters: any OptimizerHyperparameters
    private let main: any RuleAssignment
    /// AdamW on everything but hidden matrices, if the optimizer leaves that to it.
    private let auxiliary: (any RuleAssignment)?

    public init<Rule: OptimizerRule>(_ rule: Rule.Type, _ hyperparameters: Rule.Hyperparameters = .init()) {
        name = Rule.name
        self.hyperparameters = hyperparameters
        main = Assigned<Rule>(hyperparameters: hyperparameters)
        auxiliary = hyperparameters.auxiliary.map { Assigned<AdamW>(hyperparameters: $0) }
    }

    /// Reads the section. Throws `UserError` on an unknown optimizer or setting, or an impossible value.
    ///
    /// `forBFloat16Training`: whether the model trains in bf16, which some defaults follow.
    public init(_ node: ConfigurationNode?, at path: String, forBFloat16Training: Bool = false) throws {
        let place = node.map { $0.source + ": " } ?? ""
        guard let name = node?["name"] else {
            throw UserError(.usage, "\(place)\(path).name is missing", hint: optimizerChoice)
        }
        guard let rule = optimizerRules.first(where: { $0.name == name.text }) else {
            throw unknownOptimizer(name.text ?? "of that form", at: "\(name.source): \(path).name: ")
        }
        func decoded<Rule: OptimizerRule>(_ rule: Rule.Type) throws -> OptimizerConfiguration {
            var defaults = Rule.Hyperparameters()
            defaults.setDefaults(forBFloat16Training: forBFloat16Training)
            return OptimizerConfiguration(
                rule, try decode(from: node?.removing("name"), at: path, defaults: defaults))
        }
        self = try decoded(rule)
    }

    /// The section as YAML lines, every setting with its help.
    public func yaml(indent: Int = 0) -> String {
        String(repeating: " ", count: indent) + "name: \(name)\n" + hyperparameters.yaml(indent: indent)
    }

    /// The rule that a role goes to, with its settings.
    func assignment(_ role: ParameterRole) -> any RuleAssignment { role.isMatrix ? main : auxiliary ?? main }

    /// The rule of one parameter, as `Optimizer` makes it.
    public func makeRule(for parameter: Parameter, at position: RulePosition = .alone) -> any OptimizerRule {
        assignment(parameter.role).makeRule(for: parameter, at: position)
    }

    /// The name of the rule that takes a role.
    public func ruleName(for role: ParameterRole) -> String { assignment(role).name }

    /// The scalars of state for a parameter of that shape, before anything is allocated.
    public func stateCount(shape: [Int], role: ParameterRole) -> Int {
        assignment(role).stateCount(shape: shape, role: role)
    }

    /// The steps from one costly step of the hidden matrices to the next; 1: all cost the same.
    public var refreshInterval: Int { main.refreshInterval }

    /// What a person should know before the run, one line each.
    ///
    /// `gradientClip` is the norm that gradients are clipped to, nil for none.
    public func notices(_ parameters: [(shape: [Int], role: ParameterRole)], gradientClip: Double?) -> [String] {
        var counts: [(text: String, count: Int)] = []
        for (shape, role) in parameters {
            for text in assignment(role).notices(shape: shape, role: role) {
                if let index = counts.firstIndex(where: { $0.text == text }) {
                    counts[index].count += 1
                } else {
                    counts.append((text, 1))
                }
            }
        }
        var notices = counts.map { "\(name): \($0.text) (\($0.count) parameter\($0.count == 1 ? "" : "s"))" }
        if gradientClip != nil, parameters.contains(where: { assignment($0.role).updateSizeIsFixed }) {
            notices.append(
                "\(name): gradient clipping changes how steps are averaged, but does not bound the update: "
                    + "its size is the learning rate's")
        }
        return notices
    }
}

/// A rule with its settings, its type forgotten.
protocol RuleAssignment: Sendable {
    var name: String { get }
    var learningRate: Double { get }
    var updateSizeIsFixed: Bool { get }
    var refreshInterval: Int { get }
    func stateCount(shape: [Int], role: ParameterRole) -> Int
    func notices(shape: [Int], role: ParameterRole) -> [String]
    func makeRule(for parameter: Parameter, at position: RulePosition) -> any OptimizerRule
}

private struct Assigned<Rule: OptimizerRule>: RuleAssignment {
    let hyperparameters: Rule.Hyperparameters

    var name: String { Rule.name }
    var learningRate: Double { hyperparameters.lr }
    var updateSizeIsFixed: Bool { Rule.updateSizeIsFixed }
    var refreshInterval: Int { Rule.refreshInterval(hyperparameters) }
    func stateCount(shape: [Int], role: ParameterRole) -> Int {
        Rule.stateCount(shape: shape, role: role, hyperparameters: hyperparameters)
    }
    func notices(shape: [Int], role: ParameterRole) -> [String] {
        Rule.notices(shape: shape, role: role, hyperparameters: hyperparameters)
    }
    func makeRule(for parameter: Parameter, at position: RulePosition) -> any OptimizerRule {
        Rule(parameter: parameter, hyperparameters: hyperparameters, position: position)
    }
}
