#if MPI
    import CMPI
    import Console
    import Glibc

    /// Ranks that are processes, on any number of machines.
    ///
    /// Nothing here blocks within MPI, which would not notice a rank that is gone. A rank that waits for long tells all
    /// others that it is alive: so the one that is given up is the silent one, not one that waits for it in turn.
    final class MPITransport: Transport {
        let rank: Int
        let count: Int
        var timeout = 600.0
        /// When each rank was last heard.
        private var heard: [Double]
        private var hasToldStop = false

        private enum Tag: Int32 { case data, alive, stop, leave }

        init() {
            var (rank, count) = (Int32(0), Int32(0))
            cosmos_mpi_begin(&rank, &count)
            (self.rank, self.count) = (Int(rank), Int(count))
            heard = Array(repeating: 0, count: Int(count))
        }

        func exchange(_ peer: Int, count: Int, chunk: (Int) -> ExchangedChunk, take: (Int) -> Void) throws {
            var underWay = [cosmos_mpi_exchange](repeating: cosmos_mpi_exchange(), count: Ranks.chunksUnderWay)
            var begun = 0
            for index in 0..<count {
                while begun < min(count, index + underWay.count) {
                    let (send, receive) = chunk(begun)
                    underWay[begun % underWay.count] = cosmos_mpi_begin_exchange(
                        send.baseAddress, Int32(send.count), receive.baseAddress, Int32(receive.count), Int32(peer),
                        Tag.data.rawValue)
                    begun += 1
                }
                let place = index % underWay.count
                let isDone = wait(for: peer, atMost: timeout) { cosmos_mpi_is_done(&underWay[place]) != 0 }
                guard isDone else { throw SilentRank(rank: peer, timeout: timeout) }
                take(index)
            }
        }

        /// Looks until `isDone`, or until nothing was heard of `peer` for so many seconds.
        private func wait(for peer: Int?, atMost seconds: Double, until isDone: () -> Bool) -> Bool {
            var told = StatusLine.now()
            let started = told
            while !isDone() {
                let now = StatusLine.now()
                // After so long it is a wait for another rank, which may want this core, or for a slow network.
                if now - started < 1e-3 { continue }
                usleep(50)
                while case let other = cosmos_mpi_heard(Tag.alive.rawValue), other >= 0 { heard[Int(other)] = now }
                if now - told > seconds / 4 {
                    tellAll(.alive)
                    told = now
                }
                if now - max(started, peer.map { heard[$0] } ?? 0) > seconds { return false }
            }
            return true
        }

        private func tellAll(_ tag: Tag) {
            for other in 0..<count where other != rank { cosmos_mpi_tell(Int32(other), tag.rawValue) }
        }

        func tellStop() { tellAll(.stop) }

        func isToldToStop() -> Bool {
            while cosmos_mpi_heard(Tag.stop.rawValue) >= 0 { hasToldStop = true }
            return hasToldStop
        }

        func leave() -> Bool {
            tellAll(.leave)
            var missing = count - 1
            let isEmpty = wait(for: nil, atMost: 10) {
                while missing > 0, cosmos_mpi_heard(Tag.leave.rawValue) >= 0 { missing -= 1 }
                return missing == 0
            }
            if isEmpty { cosmos_mpi_end() }
            return isEmpty
        }

        func sum(_ values: UnsafeMutableBufferPointer<Float>) {
            cosmos_mpi_sum(values.baseAddress, Int32(values.count))
        }

        func abort(status: Int32) { cosmos_mpi_abort(status) }
    }
#endif
