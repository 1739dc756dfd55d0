import Foundation
import TestSupport
import Testing

/// What holds for the repository as a whole.
@Suite struct RepositoryTests {
    /// Which of our own modules and C modules each module may import.
    static let layers: [String: Set<String>] = {
        let words: Set = ["Console", "Files", "Configuration"]
        let mathematics = words.union(["TensorCore", "LLaMA", "Optimizers", "TokenData"])
        let models = mathematics.union(["Machine", "ModelFiles", "Checkpoints"])
        let runs = models.union(["Ranks", "Settings", "Planning", "Training"])
        return [
            "Console": [],
            "Files": ["Console"],
            "Configuration": ["Console", "Files"],
            "TensorCore": [],
            "LLaMA": words.union(["TensorCore"]),
            "Optimizers": words.union(["TensorCore"]),
            "TokenData": words.union(["TensorCore"]),
            "Machine": ["Console", "Files", "TensorCore", "TokenData"],
            "Ranks": ["Console", "TensorCore", "Machine"],
            "ModelFiles": words.union(["TensorCore", "LLaMA", "TokenData"]),
            "Generation": ["Console", "TensorCore", "LLaMA", "TokenData", "ModelFiles"],
            "Checkpoints": models.subtracting(["Optimizers", "Checkpoints"]),
            "Settings": models,
            "Planning": models.union(["Settings"]),
            "Training": runs.subtracting(["Training"]),
            "Comparison": runs,
            "cosmos-train": runs.union(["Comparison", "Generation"]),
        ]
    }()
    /// The libraries that are not ours, and the only modules that may import them.
    static let libraries = ["Yams": "Configuration", "ArgumentParser": "cosmos-train"]

    /// The files below `folder` whose names end with `suffix`, as paths from the repository's root.
    private static func files(in folder: String, suffix: String) -> [String] {
        let all = FileManager.default.enumerator(atPath: repositoryRoot.appending(path: folder).path)
        return (all?.compactMap { $0 as? String } ?? []).filter { $0.hasSuffix(suffix) }.map { "\(folder)/\($0)" }
            .sorted()
    }

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: repositoryRoot.appending(path: path), encoding: .utf8)
    }

    /// The modules that a Swift file imports ("@testable import struct A.B" imports A).
    private static func imports(of path: String) throws -> [String] {
        try text(path).matches(
            of:
                /(?m)^[ \t]*(?:@\w+(?:\([^)]*\))?[ \t]+|(?:public|package|internal|private|fileprivate)[ \t]+)*import[ \t]+(?:(?:struct|class|enum|protocol|func|let|var|typealias|actor)[ \t]+)?(\w+)/
        ).map { String($0.1) }
    }

    @Test func modulesImportOnlyWhatLiesBelowThem() throws {
        let sources = Self.files(in: "Sources", suffix: "")
        let modules = Set(sources.map { String($0.split(separator: "/")[1]) })
        let cModules = modules.subtracting(
            sources.filter { $0.hasSuffix(".swift") }.map { String($0.split(separator: "/")[1]) })
        #expect(cModules.count >= 7)
        var importers: [String: [String]] = [:]
        for file in Self.files(in: "Sources", suffix: ".swift") {
            let module = String(file.split(separator: "/")[1])
            let allowed = try #require(Self.layers[module], "the module \(module) has no place in the layers")
            for imported in try Self.imports(of: file) {
                importers[imported, default: []].append(file)
                if Self.layers[imported] != nil {
                    #expect(allowed.contains(imported), "\(file) must not import \(imported)")
                }
                if let owner = Self.libraries[imported] {
                    #expect(module == owner, "\(file) imports \(imported), which only \(owner) may")
                }
            }
        }
        for module in cModules {
            let files = importers[module] ?? []
            #expect(files.count == 1, "\(module) is imported by \(files): one file should")
        }
    }

    @Test func packagesArePinned() throws {
        let packages = try Self.text("Package.swift").matches(of: /\.package\(url: [^)]*\)/).map { String($0.output) }
        #expect(packages.count >= 1)
        for package in packages { #expect(package.contains("exact: "), "\(package)") }
    }

    @Test func theProgramKnowsItsCommit() throws {
        let version = try run(program, ["--version"]).output
        let commit = try #require(version.wholeMatch(of: /\d+\.\d+\.\d+ \(commit ([^)]+)\)\n/)).1
        let top = try run("git", ["rev-parse", "--show-toplevel"]).output
        if top == repositoryRoot.path + "\n" || top == repositoryRoot.resolvingSymlinksInPath().path + "\n" {
            let hash = try run("git", ["rev-parse", "HEAD"]).output
            #expect(commit.count >= 12 && hash.hasPrefix(commit.prefix { $0 != "," }), "\(commit), \(hash)")
        } else {
            #expect(commit == "unknown")
        }
    }

    @Test func everyScriptParsesAndHasHelp() throws {
        let scripts = [("scripts", ".sh"), ("scripts", ".sbatch"), ("Tests/Cluster", ".sh"), (".ci", "run")].flatMap {
            Self.files(in: $0.0, suffix: $0.1)
        }
        #expect(scripts.count >= 8)
        for script in scripts {
            let check = try run("bash", ["-n", script])
            #expect(check.status == 0, "\(check.errorOutput)")
            guard script.hasPrefix("scripts/"), script.hasSuffix(".sh"), !script.hasSuffix("/common.sh") else {
                continue
            }
            let help = try run(script, ["--help"])
            #expect(help.status == 0)
            #expect(help.output.contains("Usage: \(script)"), "\(script) --help: \(help.output)")
        }
        for script in Self.files(in: "scripts", suffix: ".pl") + Self.files(in: "Tests/Torture", suffix: ".pl") {
            #expect(try run("perl", ["-c", script]).status == 0)
        }
    }

    @Test func everyPageOfTheDocumentationIsInItsIndex() throws {
        let index = try Self.text("docs/README.md")
        for page in Self.files(in: "docs", suffix: ".md") where page != "docs/README.md" {
            let path = String(page.dropFirst("docs/".count))
            #expect(
                index.contains("](\(path))") || path.hasPrefix("results/"), "docs/README.md does not mention \(page)")
        }
    }

    /// Each path that a document names in backquotes or as the target of a link.
    @Test(arguments: ["README.md", "CONTRIBUTING.md", "data/README.md"] + files(in: "docs", suffix: ".md"))
    func pathsInDocumentsExist(_ document: String) throws {
        let text = try Self.text(document)
        let folder = URL(filePath: document, relativeTo: repositoryRoot).deletingLastPathComponent()
        let links = text.matches(of: /\]\(([^)#\s]+)(?:#[^)\s]*)?\)/).map { String($0.1) }.filter {
            !$0.contains("://")
        }
        for link in links {
            #expect(
                FileManager.default.fileExists(atPath: folder.appending(path: link).path),
                "\(document) links to \(link)")
        }
        // What a build or a run makes is not there in a fresh clone.
        let made = ["data/", "runs/", "checkpoints/", ".build/"]
        let named = text.matches(of: /`((?:Sources|Tests|scripts|configs|docs|Benchmarks|\.ci)\/[\w.\/-]*)/).map {
            String($0.1)
        }
        for path in named where !made.contains(where: path.hasPrefix) {
            #expect(
                FileManager.default.fileExists(atPath: repositoryRoot.appending(path: path).path),
                "\(document) names \(path)")
        }
    }
}
