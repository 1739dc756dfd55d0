import Checkpoints
import Foundation
import TestSupport
import Testing
import TokenData
import Training

/// Event files, against bytes that the `tensorboard` package wrote.
@Suite struct TensorBoardTests {
    /// The records of a file, their checksums compared bit by bit with the definition of CRC-32C.
    private func records(_ bytes: [UInt8]) throws -> [[UInt8]] {
        func integer(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
        func masked(_ bytes: ArraySlice<UInt8>) -> UInt64 {
            var crc: UInt32 = .max
            for byte in bytes {
                for bit in 0..<8 {
                    let isSet = (crc ^ UInt32(byte >> bit)) & 1 == 1
                    crc = crc >> 1 ^ (isSet ? 0x82f6_3b78 : 0)
                }
            }
            crc = ~crc
            return UInt64((crc >> 15 | crc << 17) &+ 0xa282_ead8)
        }
        var records: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let length = rest.prefix(8)
            let count = Int(integer(length))
            #expect(integer(rest.dropFirst(8).prefix(4)) == masked(length))
            let record = rest.dropFirst(12).prefix(count)
            try #require(record.count == count)
            #expect(integer(rest.dropFirst(12 + count).prefix(4)) == masked(record))
            records.append(Array(record))
            rest = rest.dropFirst(16 + count)
        }
        return records
    }

    private func hex(_ bytes: some Sequence<UInt8>) -> String { bytes.map { String(format: "%02x", $0) }.joined() }

    private func eventFiles(_ folder: TemporaryFolder, _ name: String) throws -> [String] {
        try folder.names(name).filter { $0.hasPrefix("events.out.tfevents.") }.map { "\(name)/\($0)" }
    }

    @Test("The bytes are those of the tensorboard package, but for the time")
    func bytes() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(atPath: folder.file("run"), withIntermediateDirectories: true)
        let log = try TensorBoardLog(
            folder: folder.file("run"), firstStep: 3, settings: [("optimizer.lr", "0.5"), ("optimizer.name", "adamw")])
        try log.append(
            LogRow(
                step: 7, tokens: 56, trainLoss: 2.5, learningRate: 0.125, gradientNorm: 1.25, stepSeconds: 0.5,
                tokensPerSecond: 112, flopsPerSecond: 1e9, mfu: 0.25, phases: StepPhases(optimizer: 0.25),
                peakRSSBytes: 4096))
        let events = try records(folder.bytes(eventFiles(folder, "run")[0]))
        // wall_time: a key and a double.
        #expect(events.allSatisfy { $0[0] == 9 })
        #expect(
            events.map { hex($0.dropFirst(9)) } == [
                "1a0d627261696e2e4576656e743a32", "10033a020801",
                "2a670a650a1c5f68706172616d735f2f73657373696f6e5f73746172745f696e666f4a450a430a076870"
                    + "6172616d7312381a360a190a0c6f7074696d697a65722e6c72120911000000000000e03f0a190a0e6f70"
                    + "74696d697a65722e6e616d6512071a056164616d77",
                "10072ab5030a160a0f747261696e696e672f746f6b656e7315000060420a160a0f6c6f73732f74726169"
                    + "6e5f6c6f737315000020400a1d0a16747261696e696e672f6c6561726e696e675f72617465150000003e"
                    + "0a1d0a16747261696e696e672f6772616469656e745f6e6f726d150000a03f0a190a1273706565642f73"
                    + "7465705f7365636f6e6473150000003f0a1e0a1773706565642f746f6b656e735f7065725f7365636f6e"
                    + "64150000e0420a1d0a1673706565642f666c6f70735f7065725f7365636f6e6415286b6e4e0a100a0973"
                    + "706565642f6d6675150000803e0a1b0a147365636f6e64732f646174615f7365636f6e64731500000000"
                    + "0a1e0a177365636f6e64732f666f72776172645f7365636f6e647315000000000a1e0a177365636f6e64"
                    + "732f6c6d5f686561645f7365636f6e647315000000000a1f0a187365636f6e64732f6261636b77617264"
                    + "5f7365636f6e647315000000000a200a197365636f6e64732f6f7074696d697a65725f7365636f6e6473"
                    + "150000803e0a1b0a147365636f6e64732f726573745f7365636f6e647315000000000a1c0a156d656d6f"
                    + "72792f7065616b5f7273735f62797465731500008045",
            ])
    }

    @Test("Sessions have files whose names sort in their order, and begin at their first step")
    func sessions() throws {
        let run = try TinyRun()
        try run.train("run", "output.tensorboard=true")
        // As a kill leaves it: steps 11 and 12 are made again.
        try FileManager.default.removeItem(atPath: run.folder.file("run/checkpoints/step-00000012"))
        try run.train("run", "output.tensorboard=true", purpose: .resume)
        let files = try eventFiles(run.folder, "run")
        #expect(files.count == 2)
        // No second comes after the last that a name can hold.
        try run.folder.write([], "run/events.out.tfevents.\(Int.max).host.1")
        try run.train("run", "output.tensorboard=true", purpose: .resume)
        #expect(try eventFiles(run.folder, "run").count == 4)
        let sessions = try files.map { try records(run.folder.bytes($0)) }
        #expect(sessions.map(\.count) == [3 + 12, 3 + 2])
        #expect(sessions.map { hex($0[1].dropFirst(9)) } == ["10013a020801", "100b3a020801"])
        let steps = try sessions.map { try $0.dropFirst(3).map { try step(of: $0) } }
        #expect(steps == [Array(1...12), [11, 12]])

        try run.train("without")
        #expect(try eventFiles(run.folder, "without").isEmpty)
    }

    private func step(of event: [UInt8]) throws -> UInt64 {
        let fields = try #require(ProtocolBuffer.fields(event[...]))
        guard case .integer(let step) = fields[1].value else { throw CancellationError() }
        return step
    }

    @Test("A protocol buffer that is cut or lies about a length does not read")
    func protocolBuffers() {
        let good = ProtocolBuffer.encode([
            (1, .integer(.max)), (2, .bytes([1, 2, 3])), (3, .fixed32(7)), (40, .fixed64(9)),
        ])
        #expect(ProtocolBuffer.fields(good[...])?.map(\.number) == [1, 2, 3, 40])
        let ends = [0, 11, 16, 21, good.count]
        for length in 0...good.count {
            #expect((ProtocolBuffer.fields(good.prefix(length)) != nil) == ends.contains(length), "\(length)")
        }
        #expect(ProtocolBuffer.fields([0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]) == nil)
        #expect(ProtocolBuffer.fields([0x0b]) == nil)
        #expect(ProtocolBuffer.fields([UInt8](repeating: 0xff, count: 30)[...]) == nil)
    }
}
