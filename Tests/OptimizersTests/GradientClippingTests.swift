import Files
import Optimizers
import TensorCore
import TestSupport
import Testing

@Suite struct GradientClippingTests {
    /// `torch.nn.utils.clip_grad_norm_`, recorded.
    @Test func agreesWithTorch() throws {
        let pool = WorkerPool(threads: testWorkers)
        for misc in try GoldenCase.all(where: { $0 == "misc" }) {
            for recorded in try #require(misc.fields.clip.array) {
                func flat(_ value: JSONValue) -> [Double] {
                    value.array?.flatMap(flat) ?? value.double.map { [$0] } ?? []
                }
                let parameters = try #require(recorded.grads.array).enumerated().map { index, values in
                    let numbers = flat(values)
                    let parameter = Parameter(name: "p\(index)", shape: [numbers.count], role: .vector)
                    for (index, number) in numbers.enumerated() { parameter.gradient.data[index] = Float(number) }
                    return parameter
                }
                let norm = try GradientClipping.globalNorm(parameters, pool: pool)
                #expect(abs(norm - (try #require(recorded.total_norm.double))) < 1e-6 * norm)
                let maxNorm = try #require(recorded.max_norm.double)
                GradientClipping.clip(parameters, norm: norm, maxNorm: maxNorm, pool: pool)
                let clipped = parameters.flatMap { $0.gradient.elements.map(Double.init) }
                for (ours, theirs) in zip(clipped, flat(recorded.clipped)) { #expect(abs(ours - theirs) < 1e-6) }
            }
        }
    }

    @Test func normIsTheSameForAnyNumberOfThreads() throws {
        let parameters = (0..<3).map { Parameter(name: "p\($0)", shape: [301, 1009], role: .vector) }
        var random = Random(seed: 1, stream: "gradients")
        for parameter in parameters {
            for index in 0..<parameter.count { parameter.gradient.data[index] = Float(random.normalPair().0) }
        }
        let norms = try [1, 2, 5].map { try GradientClipping.globalNorm(parameters, pool: WorkerPool(threads: $0)) }
        #expect(norms[0] == norms[1] && norms[0] == norms[2])
        let exact = parameters.reduce(0.0) { $0 + $1.gradient.elements.reduce(0.0) { $0 + Double($1) * Double($1) } }
        #expect(abs(norms[0] - exact.squareRoot()) < 1e-7 * norms[0])
    }

    /// Of a parameter that several workers share; so small a norm that the 1e-6 beside it is seen.
    @Test func everyElementIsScaledAlike() throws {
        let parameter = Parameter(name: "a", shape: [300, 1000], role: .vector)
        let value = 2e-3 / Double(parameter.count).squareRoot()
        for index in 0..<parameter.count { parameter.gradient.data[index] = Float(value) }
        GradientClipping.clip([parameter], norm: 2e-3, maxNorm: 1.5e-3, pool: WorkerPool(threads: testWorkers))
        let exact = value * 1.5e-3 / (2e-3 + 1e-6)
        #expect(parameter.gradient.elements.allSatisfy { abs(Double($0) / exact - 1) < 1e-6 })
    }

    @Test(arguments: [Float.nan, .infinity])
    func gradientThatIsNotFiniteIsNamed(_ value: Float) throws {
        let parameters = ["a", "b", "c"].map { Parameter(name: $0, shape: [1000], role: .vector) }
        parameters[1].gradient.data[999] = value
        let error = #expect(throws: NumericalError.self) {
            try GradientClipping.globalNorm(parameters, pool: WorkerPool(threads: testWorkers))
        }
        #expect(error?.tensor == "b")
    }

    @Test(arguments: [Float(1e30), 1e-30])
    func normOfHugeAndTinyGradientsIsRight(_ value: Float) throws {
        let parameter = Parameter(name: "a", shape: [10_000], role: .vector)
        for index in 0..<parameter.count { parameter.gradient.data[index] = value }
        let norm = try GradientClipping.globalNorm([parameter], pool: WorkerPool(threads: 1))
        #expect(abs(norm / (100 * Double(value)) - 1) < 1e-6)
    }
}
