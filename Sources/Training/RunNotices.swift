import Configuration
import Console
import Foundation
import LLaMA
import Machine
import Optimizers
import Planning
import TensorCore
import TokenData

extension RunSetup {
    /// What a person should know before the first step, one line each.
    /// `teams`: the cores and threads of each rank.
    func notices(
        _ records: RunRecords, validationData: TokenDataset?, _ memory: MemoryPlan, _ memoryWarning: String?,
        teams: [String]
    ) -> [String] {
        let (history, directory) = (records.history, records.directory)
        let (data, training) = (configuration.data, configuration.training)
        let flops = FLOPCount(configuration.model, sequenceLength: data.sequenceLength)
        let positions = configuration.steps * configuration.tokensPerStep
        let unit = data.packing == .stream ? "tokens" : "positions"
        let epochs = Double(configuration.steps * training.batchSize) / Double(trainingData.windowCount)
        // Tokens, cut ones left out, over positions.
        let filling =
            Double(trainingData.targetCount + trainingData.windowCount)
            / (Double(trainingData.windowCount) * Double(data.sequenceLength))
        let origin = history.madeBy.map { "\($0.program), commit \($0.commit), \($0.build)" } ?? ""
        let initial = training.initFrom.map { "of \($0)" } ?? "random, of seed \(training.seed)"
        let weights = start == nil ? initial : "of the checkpoint"
        let tokens =
            "\(Format.grouped(trainingData.tokenCount)) tokens in \(Format.plural(trainingData.files.count, "shard")), "
        let windows =
            "\(Format.grouped(trainingData.windowCount)) "
            + (data.packing == .stream
                ? "windows of \(data.sequenceLength)"
                : "documents in rows of \(data.sequenceLength), "
                    + String(format: "%.0f %% of them filled", 100 * filling))
        var rows: [[String]] = [
            ["program", origin],
            [
                "run",
                directory.path
                    + (start.map { start in
                        (history.events.last?.forkOf.map { ", a fork of \($0)" } ?? ", resumed")
                            + " after step \(start.step)"
                    } ?? ""),
            ],
            [
                "model",
                "\(Format.grouped(model.parameterCount)) parameters, "
                    + "\(Format.rate(flops.trainingPerToken)) FLOPs a token in training",
            ],
            ["weights", weights],
            ["data", tokens + windows],
            [
                "training",
                "\(Format.grouped(configuration.steps)) steps of \(Format.grouped(configuration.tokensPerStep)) \(unit), "
                    + "\(Format.count(positions)) in all, " + String(format: "%.2f epochs, ", epochs)
                    + String(format: "%.2g FLOPs", flops.trainingPerToken * Double(positions)),
            ],
            [
                "memory",
                "\(Format.bytes(memory.required))\(ranks.count > 1 ? " a rank" : ""): \(memory.summary)",
            ],
            [
                "workers",
                "\(pool.summary), OpenBLAS for \(LinearAlgebraLibrary.coreName)"
                    + (training.precision == .bf16 ? ", oneDNN \(BFloat16Library.version)" : ""),
            ],
            [
                "limit",
                "\(Format.rate(limit.flopsPerSecond)) FLOP/s of \(limit.unit), from registers, measured now"
                    + (BFloat16Library.isSupportedByCPU ? "" : "; this CPU has no bfloat16 instructions"),
            ],
        ]
        if ranks.count > 1 { rows += teams.enumerated().map { ["rank \($0)", "\(ranks.hosts[$0]), \($1)"] } }
        rows += RunPlan.roles(of: configuration.dryRun(pool: pool).optimizer).map {
            [
                "optimizer",
                "\($0.rule) takes \($0.tensors == 1 ? "" : "\($0.tensors) ")\($0.role): "
                    + "\(Format.count($0.parameters)) parameters, state \(Format.bytes($0.stateBytes))",
            ]
        }
        if let evaluator {
            let every = configuration.evaluation.every
            rows.append([
                "validation",
                "\(Format.grouped(evaluator.tokenCount)) tokens "
                    + (every > 0 ? "every \(every) steps and at the end" : "at the end"),
            ])
        }
        let kernels = Doctor.kernels
        let kernelWarning = kernels.remedy.map { ["\(kernels.detail): \($0)"] } ?? []
        let warnings =
            kernelWarning + (memoryWarning.map { [$0] } ?? []) + configuration.optimizer.excessiveDecay
            + trainingData.notices
            + (validationData?.notices ?? []) + withoutEffect
        let parameters = model.parameters.map { (shape: $0.shape, role: $0.role) }
        let clip = training.gradientClip > 0 ? training.gradientClip : nil
        let optimizerNotices = configuration.optimizer.notices(parameters, gradientClip: clip)
        return [aligned(rows)] + (warnings + optimizerNotices).map { "note: \($0)" }
            + (history.isWhole
                ? [] : ["note: what made the first steps is not known: they are older than \(RunHistory.fileName)"])
            + history.changes.map { "note: \($0): `compare` gives this run no rank" }
            + (directory.replacedRun.map { ["note: the run that was here is now in \($0)"] } ?? [])
    }

    /// Settings that change nothing in this run.
    private var withoutEffect: [String] {
        let schedule = configuration.schedule
        var notes: [String] = []
        if schedule.shape != .wsd, schedule.decay != LearningRateSchedule().decay {
            notes.append("schedule.decay has no effect: only wsd decays so")
        }
        if schedule.shape == .constant, schedule.finalRatio != LearningRateSchedule().finalRatio {
            notes.append("schedule.final_ratio has no effect: the schedule is constant")
        }
        if evaluator == nil { notes.append("nothing is validated: data.validation is not given") }
        if let evaluator, evaluator.tokenCount < configuration.evaluation.tokens {
            notes.append(
                "evaluation.tokens is \(configuration.evaluation.tokens), the validation data has only "
                    + "\(evaluator.tokenCount) in whole windows")
        }
        if pool.isBound, let notice = Topology.current.nodeNotice { notes.append(notice) }
        if configuration.training.threads > availableCoreCount {
            notes.append(
                "training.threads is \(configuration.training.threads), but there are only \(availableCoreCount) cores "
                    + "for this process (\(Topology.current.summary))")
        }
        return notes
    }
}
