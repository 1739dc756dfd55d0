import ArgumentParser
import Comparison
import Console
import Files
import Foundation
import Machine

struct WatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Show how a run or a sweep is getting on.",
        discussion: """
            Redraws a screen until the end: of a run the curve of its losses, where the time goes and its last \
            validations; of a sweep each optimizer with its best learning rate so far, what runs, what diverged and the \
            time left. Only the files are read, so it may run anywhere that sees them. Where the output is no terminal, \
            the last screen is printed at the end.

            Examples:
              cosmos-train watch runs/quickstart
              cosmos-train watch runs/sweep1 --html runs/sweep1/report.html
            """)

    @Argument(help: ArgumentHelp("The folder of a run, or one that holds runs, such as a sweep's.", valueName: "run"))
    var folder: String

    @Option(help: ArgumentHelp("Keep a page up to date as well; it loads itself again.", valueName: "file.html"))
    var html: String?

    func run() throws {
        let watch = try Watch(folder)
        if let html, RegularFile.exists(html) {
            let start = try RegularFile.contents(of: html, limit: .max).prefix(Comparison.pageStart.utf8.count)
            guard start.elementsEqual(Comparison.pageStart.utf8) else {
                throw UserError(.usage, "\(html) is already there and is no report", hint: "choose another name")
            }
        }
        let screen = StatusLine(descriptor: STDOUT_FILENO, interval: 0)
        while true {
            let started = StatusLine.now()
            if try watch.look(), let html {
                try AtomicFile.write(
                    watch.report(provenance: Provenance(commit: sourceCommit, threads: 1)), to: html)
            }
            if watch.isOver { break }
            if screen.isTerminal { screen.show { watch.screen(width: $0) } }
            // Reading takes no more than a twentieth of a core from the run.
            usleep(UInt32(1e6 * min(60, max(2, 20 * (StatusLine.now() - started)))))
        }
        screen.finish()
        try printResult(watch.screen(width: screen.isTerminal ? screen.size.columns - 1 : 100))
    }
}
