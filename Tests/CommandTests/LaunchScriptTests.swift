import Foundation
import TestSupport
import Testing

/// `scripts/launch.sh` with an mpirun that starts nothing and says what it was asked for.
@Suite struct LaunchScriptTests {
    /// Says that it is Open MPI's; names hosts where it is asked to look at them; prints its arguments for a run, where
    /// `end` says how that ends.
    private func install(
        hosts: [String] = [], end: String = "exit 0", version: String = "(Open MPI) 4.1.4", in folder: URL
    ) throws {
        let text = """
            #!/bin/sh
            case " $* " in
                *" --version "*) echo "mpirun \(version)" && exit ;;
                *" ppr:1:node "*) printf '%s\n' \(hosts.map { "'host \($0)'" }.joined(separator: " ")) && exit ;;
            esac
            printf '<%s>' "$@"
            \(end)
            """
        for name in ["mpirun", "mpirun.openmpi"] {
            let file = folder.appending(path: name)
            try Data(text.utf8).write(to: file)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: file.path)
        }
        try Data("a\nb\n".utf8).write(to: folder.appending(path: "hosts"))
    }

    private func launch(_ arguments: [String], in folder: URL) throws -> FinishedCommand {
        try run(
            repositoryRoot.appending(path: "scripts/launch.sh").path,
            arguments.first == "--help" ? arguments : ["--program", program] + arguments,
            environment: ["PATH": "\(folder.path):/usr/bin:/bin"], in: folder)
    }

    @Test func aRankHasANUMANodeOrEightCoresOfTheWeakestHost() throws {
        try withTemporaryFolder { folder in
            for (hosts, arguments, expected) in [
                (["a 64 2 yes", "b 64 2 yes"], [], "ranks: 16, hosts: 2, cores of a rank: 8\n"),
                (["a 64 2 yes", "b 20 2 yes"], [], "ranks: 4, hosts: 2, cores of a rank: 10\n"),
                (["a 16 8 yes", "b 16 8 yes"], [], "ranks: 16, hosts: 2, cores of a rank: 2\n"),
                (["a 4 1 yes", "b 4 1 yes"], [], "ranks: 2, hosts: 2, cores of a rank: 4\n"),
                (["a 64 2 yes", "b 64 2 yes"], ["--ranks", "4"], "ranks: 4, hosts: 2, cores of a rank: 32\n"),
                (
                    ["a 2 1 yes", "b 2 1 yes"], ["--ranks", "8"],
                    "ranks: 8, hosts: 2; warning: only 2 cores for the 4 ranks of a host\n"
                ),
            ] {
                try install(hosts: hosts, in: folder)
                let command = try launch(["--hosts", "hosts"] + arguments + ["--", "run.cfg"], in: folder)
                #expect(command.status == 0 && command.errorOutput == expected, "\(command)")
            }
        }
    }

    @Test func mpirunIsGivenHostsNetworkAndPlaces() throws {
        try withTemporaryFolder { folder in
            try install(hosts: ["a 64 2 yes", "b 64 2 yes"], end: "exit 75", in: folder)
            let several = try launch(
                ["--hosts", "hosts", "--interface", "eth0", "--", "--config", "a b.cfg", "--resume"], in: folder)
            // The program's exit code is the script's.
            #expect(several.status == 75, "\(several)")
            let root = geteuid() == 0 ? "<--allow-run-as-root>" : ""
            #expect(
                several.output == root + "<--hostfile><hosts>"
                    + "<--mca><btl_tcp_if_include><eth0><--mca><oob_tcp_if_include><eth0>"
                    + "<--map-by><ppr:8:node:PE=8><--bind-to><core><\(program)><--config><a b.cfg><--resume>")
            let alone = try launch(["--ranks", "1", "--", "run.cfg"], in: folder)
            #expect(alone.output.hasPrefix(root + "<--map-by><ppr:1:node:PE="), "\(alone)")
            let crowded = try launch(["--ranks", "4096", "--", "run.cfg"], in: folder)
            #expect(
                crowded.output.contains("<ppr:4096:node><--oversubscribe><--bind-to><core:overload-allowed>"),
                "\(crowded)")
            // In a bare change of root there is no /sys.
            let lscpu = folder.appending(path: "lscpu")
            try Data("#!/bin/sh\nexit 1\n".utf8).write(to: lscpu)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: lscpu.path)
            let bare = try launch(["--ranks", "1", "--", "run.cfg"], in: folder)
            #expect(bare.status == 75 && bare.output.hasPrefix(root + "<--map-by><ppr:1:node:PE="), "\(bare)")
        }
    }

    @Test func whatCannotBeStartedIsRefused() throws {
        try withTemporaryFolder { folder in
            func refused(_ arguments: [String], _ message: String, status: Int32 = 64) throws {
                let command = try launch(arguments, in: folder)
                #expect(command.status == status && command.output.isEmpty, "\(command)")
                #expect(command.errorOutput.hasPrefix("error: " + message), "\(command)")
            }
            try install(hosts: ["a 8 1 yes", "b 8 1 no"], in: folder)
            try refused(["run.cfg"], "unknown argument 'run.cfg'")
            try refused(["--ranks", "2"], "nothing to start: no --")
            try refused(["--"], "nothing stands after --")
            try refused(["--ranks"], "--ranks wants a value")
            try refused(["--ranks", "0", "--", "run.cfg"], "--ranks 0: not a number from 1 on")
            try refused(["--ranks", "3", "--", "run.cfg"], "3 ranks on 1 hosts: ranks must be a power of two")
            try refused(["--hosts", "nowhere", "--", "run.cfg"], "--hosts nowhere: cannot be read")
            try refused(["--hosts", "hosts", "--", "run.cfg"], "there is no program \(program) on b")
            try install(hosts: ["a 8 1 yes", "b 8 1 yes", "c 8 1 yes"], in: folder)
            try refused(["--hosts", "hosts", "--", "run.cfg"], "3 ranks on 3 hosts")
            try refused(["--hosts", "hosts", "--ranks", "4", "--", "run.cfg"], "4 ranks on 3 hosts")
            try install(hosts: [], in: folder)
            try refused(["--hosts", "hosts", "--", "run.cfg"], "no host of hosts answered", status: 74)
            try install(version: "(HYDRA) 4.0.2", in: folder)
            try refused(["--", "run.cfg"], "there is no mpirun of Open MPI", status: 74)
            #expect(try launch(["--help"], in: folder).output.contains("Usage: scripts/launch.sh"))
        }
    }

    /// SIGKILL follows what mpirun does about SIGTERM; what a rank says that ends all is said once, by the rank.
    @Test func signalsAreAWishToStopAndMpirunsOwnWordsAreLeftOut() throws {
        try withTemporaryFolder { folder in
            try install(
                end: "trap 'echo; echo asked; exit 75' USR1; touch started; while :; do sleep 0.05; done", in: folder)
            for signal in ["TERM", "INT", "HUP", "USR1"] {
                try? FileManager.default.removeItem(at: folder.appending(path: "started"))
                // A thread of the tests passes on its signal mask.
                let perl = """
                    sigprocmask(SIG_SETMASK, POSIX::SigSet->new);
                    $SIG{INT} = "DEFAULT";
                    my $child = fork // die;
                    if (!$child) { exec @ARGV or die }
                    select(undef, undef, undef, 0.05) until -e "started" or waitpid($child, WNOHANG) == $child;
                    kill "\(signal)", $child;
                    waitpid($child, 0);
                    exit($? >> 8);
                    """
                let command = try run(
                    "perl",
                    [
                        "-MPOSIX", "-e", perl, repositoryRoot.appending(path: "scripts/launch.sh").path,
                        "--program", program, "--", "run.cfg",
                    ], environment: ["PATH": "\(folder.path):/usr/bin:/bin"], in: folder)
                #expect(command.status == 75 && command.output.contains("asked"), "\(signal): \(command)")
            }
            let line = String(repeating: "-", count: 74)
            try install(
                end: """
                    printf '%s\n' 'error: no good' '\(line)' 'MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD' \
                        'with errorcode 74.' '\(line)' '\(line)' 'Something new' '\(line)' >&2
                    exit 137
                    """, in: folder)
            let command = try launch(["--ranks", "1", "--", "run.cfg"], in: folder)
            #expect(command.status == 74, "\(command)")
            #expect(command.errorOutput.hasSuffix("\nerror: no good\n\(line)\nSomething new\n\(line)\n"), "\(command)")
        }
    }
}
