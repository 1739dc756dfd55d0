import Foundation
import TestSupport
import Testing

/// Machines that hwloc makes up, as the commands see them.
@Suite struct TopologyCommandTests {
    private static let server = ["HWLOC_SYNTHETIC": "pack:2 [numa] core:2 pu:2"]

    @Test func severalNodesAreToldAndChangeNoBit() throws {
        try withTemporaryFolder { folder in
            try TinyRun().write(to: folder)
            func output(_ arguments: String...) throws -> String {
                let command = try run(program, arguments, environment: Self.server, in: folder)
                #expect(command.status == 0, "\(command.errorOutput)")
                return command.output + command.errorOutput
            }
            let machine = "4 cores on 2 sockets, 2 NUMA nodes, 2 hardware threads each"
            let all = ["--set", "training.threads=0"]
            let texts = try [
                output("doctor"), output("plan", "--config", "run.cfg", "--no-probe", all[0], all[1]),
                output("train", "--config", "run.cfg", "--set", "output.run_dir=server", all[0], all[1]),
            ]
            for (text, workers) in zip(
                texts,
                ["; a run has 4 workers", "4 workers, each bound to a core: ", "4 workers, each bound to a core: "])
            {
                #expect(text.contains(machine) && text.contains(workers), "\(text)")
                #expect(text.contains("the cores are on 2 NUMA nodes: the weights are spread over them"), "\(text)")
            }
            #expect(try train(in: folder).status == 0)
            #expect(try results("server", in: folder) == results("run", in: folder))
        }
    }

    /// Hyper-threads count once; what takes more is told, with both numbers.
    @Test func moreThreadsThanCoresAreTold() throws {
        try withTemporaryFolder { folder in
            try TinyRun().write(to: folder)
            let command = try run(
                program, ["--config", "run.cfg", "--set", "training.threads=7"], environment: Self.server, in: folder)
            #expect(command.status == 0, "\(command.errorOutput)")
            let text = command.output + command.errorOutput
            #expect(
                text.contains(
                    "training.threads is 7, but there are only 4 cores for this process (4 cores on 2 sockets, "),
                "\(text)")
            #expect(!text.contains("bound to a core"))
        }
    }

    /// As in a container without /sys: what hwloc says of that is of no use to anybody.
    @Test func aMachineWithoutSysIsTakenAsItIs() throws {
        try withTemporaryFolder { folder in
            try TinyRun().write(to: folder)
            let command = try run(
                program, ["plan", "--config", "run.cfg", "--no-probe"], environment: ["HWLOC_FSROOT": folder.path],
                in: folder)
            #expect(command.status == 0 && command.errorOutput == "", "\(command.errorOutput)")
        }
    }
}
