import Glibc

/// The names in a run's folder, by which a run is known.
public enum RunFolder {
    package static let configurationName = "config.resolved.cfg"
    package static let logName = "log.csv"
    package static let trainLogName = "train.log"
    package static let checkpointsName = "checkpoints"

    public static func holdsRun(_ path: String) -> Bool {
        [configurationName, logName, checkpointsName].contains { access("\(path)/\($0)", F_OK) == 0 }
    }
}
