import Files
import Foundation
import TensorCore

/// What makes the numbers and the times of a run: program, command, machine and libraries.
public struct Provenance: Codable, Equatable, Sendable {
    public static let programVersion = "0.1.0"

    /// "cosmos-train 0.1.0"
    public var program: String
    /// The commit of the source; "unknown" where the program was built outside a git checkout.
    public var commit: String
    /// "release, native, Swift 6.3"
    public var build: String
    /// As it was given, absolute paths shortened to those from its folder.
    public var command: String
    public var host: String
    public var cpu: String
    /// The cores that the process may run on.
    public var cores: Int
    public var threads: Int
    /// "0.3.21, kernels for SkylakeX"
    public var openBLAS: String
    public var lapacke: String
    public var oneDNN: String

    /// Describes this process.
    public init(commit: String, threads: Int) {
        program = "cosmos-train \(Self.programVersion)"
        self.commit = commit
        build = Self.buildDescription
        command = Self.commandLine
        host = Self.hostName
        cpu = Self.cpuModel
        cores = availableCoreCount
        self.threads = threads
        openBLAS = "\(LinearAlgebraLibrary.version), kernels for \(LinearAlgebraLibrary.coreName)"
        lapacke = lapackVersion
        oneDNN = BFloat16Library.version
    }

    public var rows: [(name: String, value: String)] {
        [
            ("program", program), ("commit", commit), ("build", build), ("host", host), ("CPU", cpu),
            ("cores", "\(cores)"), ("threads", "\(threads)"), ("OpenBLAS", openBLAS), ("LAPACKE", lapacke),
            ("oneDNN", oneDNN),
        ]
    }

    static var isDebugBuild: Bool {
        #if DEBUG
            true
        #else
            false
        #endif
    }

    private static var compiler: String {
        #if compiler(>=6.4)
            "Swift 6.4 or later"
        #elseif compiler(>=6.3)
            "Swift 6.3"
        #elseif compiler(>=6.2)
            "Swift 6.2"
        #else
            "Swift 6.1"
        #endif
    }

    static var buildDescription: String {
        #if Native
            let target = "native"
        #else
            let target = "for any x86-64"
        #endif
        return "\(isDebugBuild ? "debug" : "release"), \(target), \(compiler)"
    }

    /// As it would be typed in the folder that the process works in.
    public static var commandLine: String {
        let folder = FileManager.default.currentDirectoryPath
        let program = CommandLine.arguments.first.map { folderAndName(of: $0).name } ?? ""
        let arguments = CommandLine.arguments.dropFirst().map { $0.replacing(folder + "/", with: "") }
        return ([program] + arguments).map { word in
            let isPlain = !word.isEmpty && word.allSatisfy { $0.isLetter || $0.isNumber || "_-./=:,+@%".contains($0) }
            return isPlain ? word : "'" + word.replacing("'", with: #"'\''"#) + "'"
        }.joined(separator: " ")
    }

    /// Without a question to the network.
    package static var hostName: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "unknown" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The cores that the process may run on: "0-3,8".
    package static var coreList: String { processStatus("Cpus_allowed_list") ?? "unknown" }

    private static var cpuModel: String {
        let line = kernelText("/proc/cpuinfo")?.split(separator: "\n").first { $0.hasPrefix("model name") }
        return line?.split(separator: ":", maxSplits: 1).last.map { String($0).trimmed } ?? "unknown"
    }
}
