import Foundation
import PackagePlugin

/// Compiles the commit of the source into a target, as `sourceCommit`.
///
/// The file is written anew only where the commit differs, so that nothing is built again for nothing. A
/// tree without git, or within another repository, is of an unknown commit.
@main
struct SourceCommit: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        let script = """
            set -eu
            cd "$1"
            commit=unknown
            if [ "$(git rev-parse --show-toplevel 2> /dev/null)" = "$(pwd -P)" ]; then
                commit="$(git --no-optional-locks describe --always --exclude '*' --abbrev=12 --dirty=', changed')"
            fi
            text="let sourceCommit = \\"$commit\\""
            file="$2/SourceCommit.swift"
            if [ "$(cat "$file" 2> /dev/null)" != "$text" ]; then printf '%s\\n' "$text" > "$file"; fi
            """
        let output = context.pluginWorkDirectoryURL
        return [
            .prebuildCommand(
                displayName: "Reading the commit of the source", executable: URL(filePath: "/bin/sh"),
                arguments: [
                    "-c", script, "sh", context.package.directoryURL.path(percentEncoded: false),
                    output.path(percentEncoded: false),
                ],
                outputFilesDirectory: output)
        ]
    }
}
