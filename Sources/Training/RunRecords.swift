import Checkpoints
import Configuration
import Console
import Files
import Foundation
import Machine
import ModelFiles
import Optimizers
import Settings
import TensorCore
import TokenData

/// What a run leaves behind: its folder with lock, logs, checkpoints and history. Of several ranks the first alone
/// has it.
final class RunRecords {
    let directory: RunDirectory
    let log: RunLog
    let store: CheckpointStore
    /// The checkpoint that the run continues from; nil: from the beginning.
    let checkpoint: Checkpoint?
    /// What has happened to the run.
    private(set) var history: RunHistory
    private(set) var csv: CSVLog!
    private(set) var events: TensorBoardLog?
    private let configuration: RunConfiguration
    private let tokenizer: TokenizerFile?
    private let identity: TrainerState.RunIdentity
    private let trainingData: TokenDataset
    /// Whether the user chose the checkpoint's step.
    private let isStepChosen: Bool

    /// Opens the folder and checks whether the run may go on there; `event` is the start. Until `begin`, `abandon` takes
    /// back what was changed in the folder.
    init(
        _ configuration: RunConfiguration, purpose: RunDirectory.Purpose, resetOptimizer: Bool, step: Int?,
        start event: RunHistory.Event, trainingData: TokenDataset, tokenizer: TokenizerFile?, pool: WorkerPool,
        status: StatusLine
    ) throws {
        (self.configuration, self.trainingData, self.tokenizer) = (configuration, trainingData, tokenizer)
        isStepChosen = step != nil
        let directory = try RunDirectory(configuration.output.runDirectory, for: purpose)
        self.directory = directory
        var isComplete = false
        defer { if !isComplete, purpose != .resume { directory.abandon() } }
        let log = try RunLog(path: directory.trainLog, status: status)
        let store = CheckpointStore(folder: directory.checkpoints, pool: pool)
        (self.log, self.store) = (log, store)
        if purpose == .resume {
            if let notice = try store.restoreLatest(status: status) { try log.print("note: \(notice)") }
            checkpoint =
                if let step { try store.checkpoint(step: step, status: status) } else {
                    try store.newestGood(status: status) { try? log.print("warning: \($0)") }
                }
        } else {
            checkpoint = nil
        }
        var history = try RunHistory(of: directory.path, at: checkpoint?.path, resuming: true) {
            try? log.print("warning: \($0)")
        }
        var event = event
        event.forkOf = history.beginFork()
        if let checkpoint {
            var changes = try changesOnResuming(
                checkpoint, configuration, directory: directory, data: trainingData, resetOptimizer: resetOptimizer,
                isFork: event.forkOf != nil)
            if let old = history.data["data.validation"], let new = event.data?["data.validation"], old != new {
                changes.append(
                    RunHistory.Change(
                        setting: "what data.validation holds", old: String(old, radix: 16),
                        new: String(new, radix: 16)))
            }
            (event.kind, event.step) = (.resume, checkpoint.state.step)
            event.changes = changes.isEmpty ? nil : changes
        }
        history.append(event)
        self.history = history
        identity =
            (event.forkOf == nil ? checkpoint?.state.run : nil)
            ?? TrainerState.RunIdentity(name: folderAndName(of: directory.path).name)
        isComplete = true
    }

    /// Opens the logs and writes down what the run is, once all else is known to be good.
    func begin() throws {
        if let step = checkpoint?.state.step {
            if isStepChosen { try store.goBack(to: step) } else { try store.pointLatest(to: step) }
        }
        let loggedSteps = (checkpoint?.state).map { $0.pendingRow == nil ? $0.step : $0.step - 1 } ?? 0
        // There may be a log without a checkpoint: of a run that was killed before its first one.
        let hasLog = access(directory.log, F_OK) == 0
        csv =
            try hasLog
            ? CSVLog(resuming: directory.log, after: loggedSteps) : CSVLog(creating: directory.log)
        if !hasLog, loggedSteps > 0 {
            try log.print(
                "warning: \(directory.log) is missing: it begins anew, the rows of steps 1 to \(loggedSteps) are lost")
        }
        events =
            try configuration.output.tensorboard
            ? TensorBoardLog(
                folder: directory.path, firstStep: loggedSteps + 1, settings: configuration.values) : nil
        if configuration.output.jsonl { try csv.addJSONLines(directory.path + "/" + RunDirectory.jsonLinesName) }
        try AtomicFile.write(configurationText, to: directory.configuration)
        try history.write(in: directory.path)
    }

    /// What a checkpoint of a run in this state holds.
    func checkpointContents(_ progress: RunProgress, _ setup: RunSetup) throws -> Checkpoint.Contents {
        var contents = Checkpoint.Contents(
            config: configuration.model, parameters: setup.model.parameters,
            optimizerTensors: setup.state.tensors, tokenizer: tokenizer,
            state: TrainerState(
                step: progress.step, tokens: progress.tokens,
                data: TrainerState.DataState(
                    windowCount: trainingData.windowCount, contentFingerprint: trainingData.contentFingerprint,
                    tokenizerFingerprint: trainingData.tokenizerFingerprint, position: progress.position),
                optimizer: TrainerState.OptimizerState(
                    name: configuration.optimizer.name, counters: ["step": setup.optimizer.stepCount]),
                run: identity, pendingRow: progress.pendingRow))
        contents.readOptimizerTensor = setup.state.read
        contents.records = [
            (Checkpoint.settingsName, Data(configurationText.utf8)),
            (RunHistory.fileName, try history.encoded()),
        ]
        return contents
    }

    /// Adds to the run's history that it stopped, finished or failed.
    func record(_ kind: RunHistory.Event.Kind, step: Int) throws {
        history.append(RunHistory.Event(kind, step: step))
        try history.write(in: directory.path)
    }

    /// The settings, and where others held before.
    private var configurationText: String {
        history.changes.map { "# Not from the first step on: \($0) (\(RunHistory.fileName)).\n" }.joined()
            + configuration.yaml
    }
}

/// How far a run has come.
struct RunProgress {
    /// Steps made.
    var step = 0
    /// Targets trained on.
    var tokens = 0
    var position = BatchSampler.Position()
    /// The row of the last step while its validation is due, so that it is not yet in the log.
    var pendingRow: LogRow?
}
