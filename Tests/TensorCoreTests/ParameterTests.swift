import TensorCore
import Testing

@Suite struct ParameterTests {
    /// A weight that could have been changed is rounded anew, one that was only read is not.
    @Test func whoeverTakesTheWeightMayChangeIt() {
        let parameter = Parameter(name: "w", shape: [2, 3], role: .matrix(.up))
        #expect(parameter.takeChange(), "nobody has rounded it yet")
        #expect(!parameter.takeChange())
        #expect(parameter.values.count == 6 && parameter.shape == [2, 3] && parameter.count == 6)
        #expect(!parameter.takeChange())
        parameter.weight.data[0] = 1
        #expect(parameter.takeChange() && !parameter.takeChange())
        do {
            let kept = parameter.weight
            #expect(parameter.takeChange() && parameter.takeChange(), "it may still be changed")
            kept.data[1] = 2
        }
        #expect(parameter.takeChange() && !parameter.takeChange())
        #expect(Array(parameter.values.elements) == [1, 2, 0, 0, 0, 0])
    }
}
