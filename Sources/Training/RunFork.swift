import Checkpoints
import Console
import Files
import Foundation
import Settings

/// The beginning of a run that goes on from a checkpoint of another one.
public struct RunFork {
    /// The steps that it begins with.
    public let step: Int
    public let checkpoint: Checkpoint
    private let log: String

    /// Finds and checks the checkpoint of a step; nil: the newest.
    public init(of run: String, step: Int?, status: StatusLine = StatusLine()) throws {
        let store = CheckpointStore(run: run)
        let found =
            if let step { try store.checkpoint(step: step, status: status) } else {
                try store.newestGood(status: status) { status.print("warning: \($0)") }
            }
        guard let found else {
            throw UserError(.usage, "\(run) has no checkpoint to begin with", hint: "give the folder of a run")
        }
        (checkpoint, self.step, log) = (found, found.state.step, run + "/" + RunFolder.logName)
    }

    /// Makes the folder of the new run: the checkpoint, what it knows of the run's history, the log, and the new run's
    /// settings. Whoever resumes it begins it; `origin` is how the user named the old one.
    public func make(_ folder: String, _ configuration: RunConfiguration, origin: String) throws {
        var history = try RunHistory(in: checkpoint.path) ?? RunHistory()
        history.append(RunHistory.Event(.resume, step: step, forkOf: origin))
        guard access(folder, F_OK) != 0 else {
            throw UserError(.usage, "\(folder) is already there", hint: "choose another output.run_dir")
        }
        let files = FileManager.default
        try makeFolder(folderAndName(of: folder).folder)
        try AtomicFile.writeFolder(folder, mustBeNew: true) { temporary in
            do {
                let checkpoints = CheckpointStore(run: temporary)
                try makeFolder(checkpoints.folder)
                try files.copyItem(atPath: checkpoint.path, toPath: checkpoints.path(step: step))
                try history.write(in: temporary)
                try AtomicFile.write(configuration.yaml, to: temporary + "/" + RunFolder.configurationName)
                if access(log, F_OK) == 0 {
                    try files.copyItem(atPath: log, toPath: temporary + "/" + RunFolder.logName)
                }
            } catch let error as CocoaError {
                throw CheckpointStore.removal(of: checkpoint.path)
                    ?? UserError(.inputOutput, "cannot create \(folder): \(error.localizedDescription)")
            }
        }
    }
}
