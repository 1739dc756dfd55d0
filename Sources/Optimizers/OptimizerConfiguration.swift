import Configuration
import Foundation
import Console
import TensorCore

/// Every optimizer there is. A new one needs its row here.
public let optimizers: [any OptimizerSettings.Type] = [
    AdamW.self, AdamMini.self, GaLore.self, Muon.self, SOAP.self, COSMOS.self,
]

/// The optimizer of that name. `place` begins the message of the error: "run.cfg:3: optimizer.name: ".
public func optimizer(named name: String?, at place: String = "") throws -> any OptimizerSettings.Type {
    if let found = optimizers.first(where: { $0.name == name }) { return found }
    let names = optimizers.map { $0.name }
    throw UserError(
        .usage, "\(place)there is no optimizer \(name ?? "of that form")",
        hint: name.flatMap { closestMatch(to: $0, in: names) }.map { "did you mean `\($0)`?" }
            ?? "choose one of " + names.joined(separator: ", "))
}

/// The `optimizer:` section of a configuration: which optimizer, with which settings.
public struct OptimizerConfiguration: Sendable {
    public let hyperparameters: any OptimizerSettings

    public init(_ hyperparameters: any OptimizerSettings) { self.hyperparameters = hyperparameters }

    /// Reads the section. Throws `UserError` on an unknown optimizer or setting, or an impossible value.
    ///
    /// `forBFloat16Training`: whether the model trains in bf16, which some defaults follow.
    public init(_ node: ConfigurationNode?, at path: String, forBFloat16Training: Bool = false) throws {
        guard let name = node?["name"] else {
            throw UserError(
                .usage, "\(node.map { $0.source + ": " } ?? "")\(path).name is missing",
                hint: "choose one of " + optimizers.map { $0.name }.joined(separator: ", "))
        }
        func decoded<Settings: OptimizerSettings>(_: Settings.Type) throws -> any OptimizerSettings {
            var defaults = Settings()
            defaults.setDefaults(forBFloat16Training: forBFloat16Training)
            return try decode(from: node?.removing("name"), at: path, defaults: defaults)
        }
        hyperparameters = try decoded(optimizer(named: name.text, at: "\(name.source): \(path).name: "))
    }

    public var name: String { type(of: hyperparameters).name }

    /// The section as YAML lines, every setting with its help.
    public func yaml(indent: Int = 0) -> String {
        String(repeating: " ", count: indent) + "name: \(name)\n" + hyperparameters.yaml(indent: indent)
    }

    /// The optimizer that takes a role, with its settings: hidden matrices are never left to AdamW.
    public func settings(for role: ParameterRole) -> any OptimizerSettings {
        guard !role.isMatrix, let adam = hyperparameters.adam else { return hyperparameters }
        return AdamW(adam)
    }

    /// The steps from one costly step of the hidden matrices to the next; 1: all cost the same.
    public var refreshInterval: Int { hyperparameters.renewal?.interval ?? 1 }

    /// A line for each pair of learning rate and decay that would turn the sign of a weight.
    public var excessiveDecay: [String] {
        let values = Dictionary(uniqueKeysWithValues: hyperparameters.values.map { ($0.key, $0.value) })
        return ["", "adam."].compactMap { prefix in
            guard let lr = values[prefix + "lr"].flatMap(Double.init),
                let decay = values[prefix + "weight_decay"].flatMap(Double.init), lr * decay > 1
            else { return nil }
            return
                "optimizer.\(prefix)lr x optimizer.\(prefix)weight_decay is \(String(format: "%.3g", lr * decay)): at "
                + "its peak, the decay of one step takes more than the whole weight and turns its sign"
        }
    }

    /// What a person should know before the run, one line each.
    ///
    /// `gradientClip` is the norm that gradients are clipped to, nil for none.
    public func notices(_ parameters: [(shape: [Int], role: ParameterRole)], gradientClip: Double?) -> [String] {
        var counts: [(text: String, count: Int)] = []
        for (shape, role) in parameters {
            let settings = settings(for: role)
            let ofRenewal = role.isMatrix ? settings.renewal?.notices ?? [] : []
            for text in settings.notices(shape: shape, role: role) + ofRenewal {
                if let index = counts.firstIndex(where: { $0.text == text }) {
                    counts[index].count += 1
                } else {
                    counts.append((text, 1))
                }
            }
        }
        var notices = counts.map { "\(name): \($0.text) (\(Format.plural($0.count, "parameter")))" }
        let hasFixedSize = parameters.contains { type(of: settings(for: $0.role)).updateSizeIsFixed }
        if gradientClip != nil, hasFixedSize {
            notices.append(
                "\(name): gradient clipping changes how steps are averaged, but does not bound the update: "
                    + "its size is the learning rate's")
        }
        return notices
    }
}
