import Testing
import TestSupport

@Suite struct GoldenCaseTests {
    @Test func fixturesAreReadWithShapesAndValues() throws {
        let golden = try #require(GoldenCase.all(environment: [:]) { $0 == "adamw.llm.f32" }.first)
        #expect(golden.fields.hyper.betas.doubles == [0.9, 0.95])
        #expect(golden.fields.params.m12x20.ints == [12, 20])
        let gradient = try golden.required("m12x20/grad@1")
        #expect(gradient.shape == [12, 20])
        #expect(gradient.floats.contains { $0 != 0 })
        #expect(try golden.tensor("m12x20/grad@99") == nil)
    }
}
