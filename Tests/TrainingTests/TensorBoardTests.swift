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
        let log = try TensorBoardLog(folder: folder.file("run"), firstStep: 3)
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
                "10072ac6020a0d0a06746f6b656e7315000060420a110a0a747261696e5f6c6f737315000020400a140a"
                    + "0d6c6561726e696e675f72617465150000003e0a140a0d6772616469656e745f6e6f726d150000a03f0a"
                    + "130a0c737465705f7365636f6e6473150000003f0a180a11746f6b656e735f7065725f7365636f6e6415"
                    + "0000e0420a170a10666c6f70735f7065725f7365636f6e6415286b6e4e0a0a0a036d6675"
                    + "150000803e0a130a0c646174615f7365636f6e647315000000000a160a0f666f72776172645f7365"
                    + "636f6e647315000000000a160a0f6c6d5f686561645f7365636f6e647315000000000a170a106261636b776172"
                    + "645f7365636f6e647315000000000a180a116f7074696d697a65725f7365636f6e6473150000803e0a13"
                    + "0a0c726573745f7365636f6e647315000000000a150a0e7065616b5f7273735f62797465731500008045",
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
        let sessions = try files.map { try records(run.folder.bytes($0)) }
        #expect(sessions.map(\.count) == [2 + 12, 2 + 2])
        #expect(sessions.map { hex($0[1].dropFirst(9)) } == ["10013a020801", "100b3a020801"])
        let steps = try sessions.map { try $0.dropFirst(2).map { try step(of: $0) } }
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
