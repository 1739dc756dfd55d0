import Checkpoints
import Configuration
import Files
import Foundation

/// The losses of one run along its log, as a plot shows them.
struct RunCurve {
    let name: String
    let folder: String
    let optimizer: String
    /// The loss of each step; not finite where the log has no number.
    private(set) var train: [(x: Double, y: Double)] = []
    private(set) var validation: [(x: Double, y: Double)] = []

    /// Reads the log in a run's folder, or a log by itself. Throws where it can't be read or is no log.
    init(_ path: String, over axis: RunPlot.Axis) throws {
        let log = isFolder(path) ? Files.path(of: RunFolder.logName, in: path) : path
        folder = URL(filePath: log).resolvingSymlinksInPath().deletingLastPathComponent().path
        name = folderAndName(of: folder).name
        let configuration = try? ConfigurationNode(contentsOfFile: folder + "/" + RunFolder.configurationName)
        optimizer = configuration?["optimizer"]?["name"]?.text ?? "unknown optimizer"
        var seconds = 0.0
        let place = axis.column
        try readLog(log, columns: [place, "train_loss", "validation_loss"]) { fields, damaged in
            guard var x = Double(fields[0]), x.isFinite else {
                throw damaged("\(place), \(fields[0]), is not a number")
            }
            if axis == .time {
                seconds += x
                x = seconds
            }
            train.append((x, Double(fields[1]) ?? .nan))
            if let loss = Double(fields[2]), loss.isFinite { validation.append((x, loss)) }
        }
    }

    var isEmpty: Bool { validation.isEmpty && !train.contains { $0.y.isFinite } }

    /// The name with the folder above, where several runs are called the same.
    func name(among all: [RunCurve]) -> String {
        if all.count(where: { $0.name == name }) == 1 { return name }
        return folderAndName(of: folderAndName(of: folder).folder).name + "/" + name
    }

    /// The training loss as a running mean over 2 % of the run. The window is symmetric, so that it is narrow at the
    /// beginning, where the loss falls steeply.
    var smoothed: [(x: Double, y: Double)] {
        var sums = [(sum: 0.0, count: 0)]
        for point in train {
            let last = sums[sums.count - 1]
            sums.append(point.y.isFinite ? (last.sum + point.y, last.count + 1) : last)
        }
        let half = (train.count + 99) / 100
        return train.indices.map { index in
            let reach = min(index, half)
            let (from, to) = (sums[index - reach], sums[min(index + reach + 1, train.count)])
            let mean = (to.sum - from.sum) / Double(to.count - from.count)
            return (train[index].x, train[index].y.isFinite ? mean : .nan)
        }
    }

    /// What the run has reached: the last validation loss, or else the last smoothed training loss.
    var lastLoss: Double { validation.last?.y ?? smoothed.last { $0.y.isFinite }?.y ?? .infinity }
}

/// Every n-th point, with the first, the last and all gaps: more than some hundreds cannot be told apart.
func thinned(_ points: [(x: Double, y: Double)], to count: Int = 800) -> [(x: Double, y: Double)] {
    let step = max(1, points.count / count)
    return points.enumerated().filter { $0 % step == 0 || $0 == points.count - 1 || !$1.y.isFinite }.map(\.element)
}
