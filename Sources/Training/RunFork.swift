import Checkpoints
import Console
import Files
import Foundation

/// The beginning of a run that goes on from a checkpoint of another one.
public struct RunFork {
    /// The steps that it begins with.
    public let step: Int
    private let checkpoint: Checkpoint
    private let log: String

    /// Finds and checks the checkpoint of a step; nil: the newest.
    public init(of run: String, step: Int?, status: StatusLine = StatusLine()) throws {
        let store = CheckpointStore(folder: run + "/checkpoints")
        let found =
            if let step { try store.checkpoint(step: step, status: status) } else {
                try store.newestGood(status: status) { status.print("warning: \($0)") }
            }
        guard let found else {
            throw UserError(.usage, "\(run) has no checkpoint to begin with", hint: "give the folder of a run")
        }
        (checkpoint, self.step, log) = (found, found.state.step, run + "/log.csv")
    }

    /// Makes the folder of the new run: the checkpoint, what it knows of the run's history, and the log.
    public func make(_ folder: String) throws {
        guard access(folder, F_OK) != 0 else {
            throw UserError(.usage, "\(folder) is already there", hint: "choose another output.run_dir")
        }
        let files = FileManager.default
        try makeFolder(folderAndName(of: folder).folder)
        try AtomicFile.writeFolder(folder) { temporary in
            do {
                let checkpoints = CheckpointStore(folder: temporary + "/checkpoints")
                try makeFolder(checkpoints.folder)
                try files.copyItem(atPath: checkpoint.path, toPath: checkpoints.path(step: step))
                let history = "/" + RunHistory.fileName
                if access(checkpoint.path + history, F_OK) == 0 {
                    try files.copyItem(atPath: checkpoint.path + history, toPath: temporary + history)
                }
                if access(log, F_OK) == 0 { try files.copyItem(atPath: log, toPath: temporary + "/log.csv") }
            } catch let error as CocoaError {
                throw UserError(.inputOutput, "cannot create \(folder): \(error.localizedDescription)")
            }
        }
    }
}
