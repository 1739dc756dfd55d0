import ArgumentParser
import Configuration
import Machine

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Examine the program, its libraries and this machine.",
        discussion:
            "Says what is well, what slows training down, and what to do. The exit code is 1 where something fails.")

    func run() throws {
        let findings = Doctor.examine()
        try printResult(
            aligned(
                findings.flatMap { finding in
                    let mark = finding.verdict == .fail ? "FAIL" : finding.verdict.rawValue
                    return [[mark, finding.subject, finding.detail]]
                        + (finding.remedy.map { [["", "", "-> " + $0]] } ?? [])
                }))
        let (warnings, failures) = (findings.count { $0.verdict == .warn }, findings.count { $0.verdict == .fail })
        try printResult(
            "\n\(failures == 0 && warnings == 0 ? "all is well" : "\(failures) failures, \(warnings) warnings")")
        if failures > 0 { throw ExitCode.failure }
    }
}
