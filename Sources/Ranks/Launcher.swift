import Console
import Glibc
import Machine

/// What the program that started this process says of the ranks it started: mpirun, MPICH's, or srun.
public struct Launcher: Sendable {
    public let rank: Int
    /// All ranks, as promised.
    public let count: Int

    /// By this process's environment; nil: started alone.
    public static let current = Launcher { name in getenv(name).flatMap { Int(String(cString: $0)) } }

    package init?(_ variable: (String) -> Int?) {
        let names = [
            ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"),
            ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
        ]
        guard let (size, place) = names.first(where: { variable($0.0) != nil }), let count = variable(size), count > 1
        else { return nil }
        (self.count, rank) = (count, variable(place) ?? 0)
    }

    /// Joins the other ranks. Throws where they are no power of two or not as many as promised, or where this program has
    /// no MPI.
    public func join() throws -> Ranks {
        guard count.nonzeroBitCount == 1 else {
            throw UserError(
                .usage, "\(count) ranks were started: their number must be a power of two",
                hint: "start 2, 4, 8, ... ranks")
        }
        #if MPI
            let transport = MPITransport()
            try check(seen: transport.count)
            return Ranks(transport)
        #else
            throw UserError(
                .usage, "\(count) ranks were started, but this program is built without MPI: each would be a run alone",
                hint: "build it with scripts/build.sh --mpi")
        #endif
    }

    package func check(seen: Int) throws {
        guard seen != count else { return }
        throw UserError(
            .usage, "the launcher promises \(count) ranks, but MPI on \(Provenance.hostName) sees \(seen)",
            hint: "start it with the mpirun of the MPI that it was built with, under Slurm with srun --mpi=pmix")
    }
}
