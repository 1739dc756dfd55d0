import ArgumentParser
import Foundation
import Machine

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Examine the program, its libraries and this machine.",
        discussion:
            "Says what is well, what slows training down, and what to do. The exit code is 1 where something fails.")

    func run() throws {
        let findings = Doctor.examine()
        let marks: [Finding.Verdict: String] = [.ok: "ok", .warn: "warn", .fail: "FAIL"]
        let indent = String(repeating: " ", count: 6 + 15)
        for finding in findings {
            let mark = (marks[finding.verdict] ?? "").padding(toLength: 6, withPad: " ", startingAt: 0)
            try printResult(mark + finding.subject.padding(toLength: 15, withPad: " ", startingAt: 0) + finding.detail)
            if let remedy = finding.remedy { try printResult(indent + "-> " + remedy) }
        }
        let (warnings, failures) = (findings.count { $0.verdict == .warn }, findings.count { $0.verdict == .fail })
        try printResult(
            "\n\(failures == 0 && warnings == 0 ? "all is well" : "\(failures) failures, \(warnings) warnings")")
        if failures > 0 { throw ExitCode.failure }
    }
}
