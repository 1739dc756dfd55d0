import Console
import Files
import Foundation

public enum FigureFile {
    public static let formats = ["svg", "png", "pdf"]

    /// Writes a figure, whole or not at all. SVG it is already; rsvg-convert (librsvg) makes the others of it.
    public static func write(_ svg: String, to path: String) throws {
        let format = folderAndName(of: path).name.split(separator: ".").last.map { $0.lowercased() } ?? ""
        if format == "svg" { return try AtomicFile.write(svg + "\n", to: path) }
        // From a file into a pipe: no process waits for the other.
        let source = FileManager.default.temporaryDirectory.appending(path: "cosmos-train-\(UUID().uuidString).svg")
            .path
        try AtomicFile.write(svg, to: source)
        defer { unlink(source) }
        let (process, output) = (Process(), Pipe())
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["rsvg-convert", "--format", format, "--background-color", "white", "--zoom", "2", source]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        try process.run()
        let bytes = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationReason == .exit, process.terminationStatus == 0, !bytes.isEmpty else {
            throw UserError(
                .inputOutput, "rsvg-convert could not make \(path)",
                hint: "install it (`scripts/install_dependencies.sh plot`), or name a file that ends in .svg")
        }
        try AtomicFile.write(bytes, to: path)
    }
}
