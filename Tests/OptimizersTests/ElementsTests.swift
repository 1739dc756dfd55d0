import Configuration
import Optimizers
import TensorCore
import TestSupport
import Testing

/// An update with as much state as `Elements` offers: AMSGrad (Reddi et al. 2018), without bias corrections.
@Suite struct ElementsTests {
    private struct AMSGrad: OptimizerSettings {
        static let (name, summary, citation, stateFormula) = ("amsgrad", "", "", "3mn")
        static let settings: [Field<Self>] = []
        var lr = 0.02
        var weightDecay = 0.1
        var adam: AdamSettings?

        func rule(for parameter: Parameter, _ state: StateDeclaration) -> any OptimizerRule {
            let shape = parameter.shape
            return Rule(
                m: state.tensor("m", shape), v: state.tensor("v", shape), largest: state.tensor("largest", shape))
        }
    }

    private struct Rule: ElementwiseRule {
        let m, v, largest: Tensor<Float>

        func step(_ elements: Elements, _ context: StepContext) throws {
            let lr = Float(context.learningRate)
            try elements.update(m, v, largest) { g, _, m, v, largest in
                m = m * 0.8 + g * 0.2
                v = v * 0.9 + g * g * 0.1
                largest = largest.larger(v)
                return lr * m / (largest.squareRoots + 1e-3)
            }
        }
    }

    @Test func updatesThreeTensorsOfState() throws {
        let replay = try Replay(of: AMSGrad(), shape: [6, 21]) {
            var (m, v, largest) = (DenseMatrix(6, 21), DenseMatrix(6, 21), DenseMatrix(6, 21))
            return { w, g, lr, _ in
                m = 0.8 * m + 0.2 * g
                v = 0.9 * v + 0.1 * g.map { $0 * $0 }
                largest = largest.combined(with: v, max)
                w = (1 - lr * 0.1) * w - lr * m.combined(with: largest) { $0 / ($1.squareRoot() + 1e-3) }
            }
        }
        #expect(replay.difference <= replay.tolerance)
    }
}
