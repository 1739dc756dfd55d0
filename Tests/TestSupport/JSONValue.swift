import Files

/// What tests look for in JSON.
extension JSONValue {
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var int: Int? { double.flatMap { Int(exactly: $0) } }
    public var doubles: [Double]? { numbers(\.double) }
    public var ints: [Int]? { numbers(\.int) }
    public var keys: [String] { if case .object(let members) = self { members.keys.map(\.text).sorted() } else { [] } }

    private func numbers<Number>(_ number: (JSONValue) -> Number?) -> [Number]? {
        guard let array else { return nil }
        let numbers = array.compactMap(number)
        return numbers.count == array.count ? numbers : nil
    }
}
