import Console
import Foundation
import Machine
import Ranks
import Settings

extension Ranks {
    /// Refuses ranks that would not compute the same: another program, library, configuration or other tokens.
    package func checkAlike(_ configuration: RunConfiguration, _ program: Provenance, _ data: [String: UInt32]) throws {
        if count == 1 { return }
        var facts = [
            ["the program", "\(program.program), commit \(program.commit), \(program.build)"],
            ["OpenBLAS", program.openBLAS], ["LAPACKE", program.lapacke], ["oneDNN", program.oneDNN],
        ]
        facts += configuration.values.filter { $0.key != "training.threads" }.map { [$0.key, $0.value] }
        facts += data.sorted { $0.key < $1.key }.map {
            ["the tokens of \($0.key), CRC-32", String($0.value, radix: 16)]
        }
        let all = try gather(Array(JSONEncoder().encode(facts))).map {
            try JSONDecoder().decode([[String]].self, from: Data($0))
        }
        for (other, facts) in all.enumerated() where facts != all[0] {
            let (theirs, ours) = zip(facts, all[0]).first { $0 != $1 } ?? (["settings", "others"], ["", "others"])
            throw UserError(
                .usage,
                "\(name(of: other)) has \(theirs[0]) \(theirs[1]), \(name(of: 0)) has \(ours[1]): they would not compute "
                    + "the same",
                hint: theirs[0] == "OpenBLAS"
                    ? "set OPENBLAS_CORETYPE to the same value for all ranks, or use machines of one type"
                    : "start the same program with the same arguments and files on all machines")
        }
    }
}
