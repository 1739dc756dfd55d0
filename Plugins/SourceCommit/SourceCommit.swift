import Foundation
import PackagePlugin

/// Compiles the commit of the source into a target, as `sourceCommit`.
///
/// It is read again when a source file or the checked-out commit has changed, and written only where it
/// differs, so that nothing is compiled for nothing. A tree without git, or within another repository, is of
/// an unknown commit.
@main
struct SourceCommit: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        let script = """
            set -eu
            cd "$1"
            commit=unknown
            if [ "$(git rev-parse --show-toplevel 2> /dev/null)" = "$(pwd -P)" ]; then
                commit="$(git rev-parse --short=12 HEAD)"
                changed="$(git --no-optional-locks status --porcelain -- Sources Package.swift)"
                if [ -n "$changed" ]; then commit="$commit, changed"; fi
            fi
            text="let sourceCommit = \\"$commit\\""
            if [ "$(cat "$2" 2> /dev/null)" != "$text" ]; then printf '%s\\n' "$text" > "$2"; fi
            """
        let package = context.package.directoryURL
        let output = context.pluginWorkDirectoryURL.appending(path: "SourceCommit.swift")
        let git = gitFolder(of: package)
        let sources = FileManager.default.enumerator(
            at: package.appending(path: "Sources"), includingPropertiesForKeys: [.isRegularFileKey])
        let files =
            (sources?.compactMap { $0 as? URL } ?? []) + [
                package.appending(path: "Package.swift"), git.appending(path: "logs/HEAD"),
                git.appending(path: "index"),
            ]
        return [
            .buildCommand(
                displayName: "Reading the commit of the source", executable: URL(filePath: "/bin/sh"),
                arguments: [
                    "-c", script, "sh", package.path(percentEncoded: false), output.path(percentEncoded: false),
                ],
                inputFiles: files.filter {
                    (try? $0.resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile == true
                },
                outputFiles: [output])
        ]
    }

    /// `.git`, or what the file of this name in a worktree leads to.
    private func gitFolder(of package: URL) -> URL {
        let git = package.appending(path: ".git")
        guard let link = try? String(contentsOf: git, encoding: .utf8), link.hasPrefix("gitdir: ") else { return git }
        return URL(filePath: String(link.dropFirst(8).prefix { $0 != "\n" }), relativeTo: package)
    }
}
