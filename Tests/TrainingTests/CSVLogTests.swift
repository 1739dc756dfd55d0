import Checkpoints
import Console
import Foundation
import Machine
import TestSupport
import Testing
import Training

private func row(_ step: Int) -> LogRow {
    LogRow(
        step: step, tokens: 1024 * step, trainLoss: 1 / Double(step + 2), validationLoss: step == 2 ? 0.1 : nil,
        learningRate: 1e-3, gradientNorm: 0.1 + 0.2, stepSeconds: 2, tokensPerSecond: 512, flopsPerSecond: 1e9,
        mfu: 0.25, phases: StepPhases(optimizer: 1e-7),
        peakRSSBytes: 4096)
}

@Suite struct CSVLogTests {
    private let header =
        "step,tokens,train_loss,validation_loss,validation_perplexity,learning_rate,gradient_norm,step_seconds,"
        + "tokens_per_second,flops_per_second,mfu,data_seconds,forward_seconds,lm_head_seconds,backward_seconds,"
        + "optimizer_seconds,rest_seconds,peak_rss_bytes,communication_seconds\n"

    /// A log of rows 1 ... `steps`.
    private func log(_ folder: TemporaryFolder, steps: Int) throws -> String {
        let path = folder.file("log.csv")
        let log = try CSVLog(creating: path)
        for step in stride(from: 1, through: steps, by: 1) { try log.append(row(step)) }
        try log.synchronize()
        return path
    }

    /// For programs that import logs; the same after a run was resumed.
    @Test func jsonLinesAreTheRows() throws {
        let run = try TinyRun()
        try run.train("run", "output.jsonl=true")
        let whole = try run.folder.text("run/log.jsonl")
        try FileManager.default.removeItem(atPath: run.folder.file("run/checkpoints/step-00000012"))
        try run.train("run", "output.jsonl=true", purpose: .resume)
        for text in [whole, try run.folder.text("run/log.jsonl")] {
            let rows = try text.split(separator: "\n").map {
                try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Double])
            }
            #expect(rows.map { $0["step"] } == (1...12).map(Double.init))
            for (line, row) in zip(text.split(separator: "\n"), try run.log()) {
                #expect(line.contains("\"train_loss\": \(row[2]),"))
                #expect(
                    row[3].isEmpty ? !line.contains("validation") : line.contains("\"validation_loss\": \(row[3]),"))
            }
        }
        try run.train("without")
        #expect(!FileManager.default.fileExists(atPath: run.folder.file("without/log.jsonl")))
    }

    @Test func rowsHaveFullPrecisionAndEmptyCellsWhereNothingWasMeasured() throws {
        let folder = try TemporaryFolder()
        _ = try log(folder, steps: 2)
        #expect(
            try folder.text("log.csv") == header
                + "1,1024,0.3333333333333333,,,0.001,0.30000000000000004,2.0,512.0,1000000000.0,0.25,0.0,0.0,0.0,0.0,1e-07,0.0,4096,\n"
                + "2,2048,0.25,0.1,1.1051709180756477,0.001,0.30000000000000004,2.0,512.0,1000000000.0,0.25,0.0,0.0,0.0,0.0,1e-07,0.0,4096,\n"
        )
    }

    /// Resumed after any step, the log ends up with the bytes of a log that was never interrupted.
    @Test(arguments: 0...5) func aResumedLogEqualsAStraightOne(_ step: Int) throws {
        let folder = try TemporaryFolder()
        let path = try log(folder, steps: 5)
        let straight = try folder.bytes("log.csv")
        do {
            let resumed = try CSVLog(resuming: path, after: step)
            for later in stride(from: step + 1, through: 5, by: 1) { try resumed.append(row(later)) }
        }
        #expect(try folder.bytes("log.csv") == straight)
    }

    /// A log and a checkpoint of the time when the MFU had another name and there were no ranks.
    @Test func olderNamesAreRead() throws {
        let folder = try TemporaryFolder()
        let path = try log(folder, steps: 2)
        try folder.write(
            folder.text("log.csv").replacing(",mfu,", with: ",limit_share,").replacing("lm_head_", with: "head_")
                .replacing(",communication_seconds", with: "").replacing(",4096,", with: ",4096").utf8,
            "log.csv")
        try CSVLog(resuming: path, after: 2).append(row(3))
        let lines = try folder.text("log.csv").split(separator: "\n")
        #expect(lines.count == 4 && lines.allSatisfy { $0.count { $0 == "," } == 17 })
        let text = String(decoding: try JSONEncoder().encode(row(1)), as: UTF8.self)
        #expect(text.contains("\"limitShare\":0.25"))
        #expect(try JSONDecoder().decode(LogRow.self, from: Data(text.utf8)).mfu == 0.25)
    }

    /// Of a run whose log was lost, the new one begins with the step after the checkpoint.
    @Test func aLogThatBeganLaterIsContinued() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("log.csv")
        do { _ = try CSVLog(creating: path) }
        for (step, next) in [(4, 5), (5, 6), (4, 5), (6, 7)] {
            if step == 6 {
                #expect(throws: UserError.self) { try CSVLog(resuming: path, after: step) }
            } else {
                try CSVLog(resuming: path, after: step).append(row(next))
            }
        }
        #expect(try folder.text("log.csv").split(separator: "\n").map { $0.prefix(2) } == ["st", "5,"])
    }

    /// A process killed in the middle of a write leaves a part of a row.
    @Test func aLastRowCutAnywhereIsDropped() throws {
        let folder = try TemporaryFolder()
        let path = try log(folder, steps: 3)
        let straight = try folder.bytes("log.csv")
        let wholeRows = try #require(straight.dropLast().lastIndex(of: UInt8(ascii: "\n"))) + 1
        for length in wholeRows..<straight.count {
            try folder.write(straight[..<length], "log.csv")
            _ = try CSVLog(resuming: path, after: 2)
            #expect(try folder.bytes("log.csv") == Array(straight[..<wholeRows]))
        }
    }

    @Test func aRowThatIsMissingOrDamagedIsNamed() throws {
        let folder = try TemporaryFolder()
        let path = try log(folder, steps: 3)
        let error = #expect(throws: UserError.self) { try CSVLog(resuming: path, after: 4) }
        #expect(error?.message.contains("the last whole row is that of step 3") == true)

        let lines = try folder.text("log.csv").split(separator: "\n")
        for damaged in [[lines[0], lines[1], lines[3]], [lines[0], lines[1], "2,3"], [lines[0], lines[1], lines[1]]] {
            let text = damaged.joined(separator: "\n") + "\n"
            try folder.write(text.utf8, "log.csv")
            let error = #expect(throws: UserError.self) { try CSVLog(resuming: path, after: 3) }
            #expect(error?.message.contains("line 3 is not the row of step 2") == true)
            #expect(try folder.text("log.csv") == text)
        }
        try folder.write("step,loss\n1,2\n".utf8, "log.csv")
        #expect(throws: UserError.self) { try CSVLog(resuming: path, after: 1) }
        try folder.write([], "log.csv")
        #expect(throws: UserError.self) { try CSVLog(resuming: path, after: 1) }
    }

    @Test func anExistingLogIsNotOverwritten() throws {
        let folder = try TemporaryFolder()
        let path = try log(folder, steps: 1)
        #expect(throws: UserError.self) { try CSVLog(creating: path) }
        #expect(try folder.text("log.csv").hasPrefix(header + "1,"))
    }

    @Test func peakMemoryGrowsWithUse() {
        let before = peakResidentBytes()
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: before + 1 << 26, alignment: 64)
        memset(memory.baseAddress!, 1, memory.count)
        #expect(peakResidentBytes() >= memory.count)
        memory.deallocate()
    }
}
