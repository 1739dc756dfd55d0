import Console
import Files
import Foundation
import Synchronization
import TensorCore

/// SIGINT (Ctrl-C), SIGTERM, SIGHUP, and SIGUSR1, by which batch systems tell that the time is nearly up.
///
/// A command whose work can go on later stops in good order (`stopInGoodOrder`): the first signal sets `flag`,
/// which every long computation looks at between its tasks, and a second one ends the process at once. Any other
/// command ends at once, of the signal itself, after what it had half written is removed.
public enum Interruption {
    /// Set by the first signal of a command that stops in good order.
    public static let flag = CancellationFlag()

    fileprivate static let isOrderly = Atomic<Bool>(false)
    /// Whether others get the signals of this process, too, which then come again and again.
    fileprivate static let isAmongRanks = Atomic<Bool>(false)
    private static let isQuiet = Atomic<Bool>(false)
    fileprivate static let lastSignal = Atomic<Int32>(SIGTERM)
    /// A pipe brings the signals that arrived to the thread that acts on them.
    fileprivate static let writeEnd = Atomic<Int32>(-1)
    fileprivate static let readEnd = Atomic<Int32>(-1)
    /// What cannot be stopped in the middle and is under way.
    private static let wait = Mutex<String?>(nil)

    /// Starts to listen. Signals that the parent process had switched off (`nohup`, a background job
    /// of a script) stay off.
    public static func install() {
        guard openPipe(), startThread() else { return }
        for number in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
            var current = sigaction()
            sigaction(number, nil, &current)
            if unsafeBitCast(current.__sigaction_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) {
                continue
            }
            var action = sigaction()
            action.__sigaction_handler.sa_handler = handleSignal
            // Reads and writes under way go on instead of failing with EINTR.
            action.sa_flags = SA_RESTART
            sigaction(number, &action, nil)
            // A parent that starts programs from one of its worker threads passes on that thread's mask.
            unblock(number)
        }
    }

    private static func openPipe() -> Bool {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { return false }
        readEnd.store(ends[0], ordering: .relaxed)
        // First use makes the globals, which a handler must not do.
        writeEnd.store(ends[1], ordering: .relaxed)
        isOrderly.store(flag.isRequested, ordering: .relaxed)
        lastSignal.store(SIGTERM, ordering: .relaxed)
        return fcntl(ends[0], F_SETFD, FD_CLOEXEC) == 0 && fcntl(ends[1], F_SETFD, FD_CLOEXEC) == 0
    }

    /// Without the thread nobody would act on a signal: it keeps its usual effect.
    private static func startThread() -> Bool {
        var thread = pthread_t()
        return pthread_create(&thread, nil, actOnSignals, nil) == 0
    }

    /// From here on the first signal is a wish: `flag`. `amongRanks`: so are all others. `isQuiet`: nothing is printed,
    /// since another process does.
    public static func stopInGoodOrder(amongRanks: Bool = false, isQuiet: Bool = false) {
        isAmongRanks.store(amongRanks, ordering: .relaxed)
        Self.isQuiet.store(isQuiet, ordering: .relaxed)
        isOrderly.store(true, ordering: .relaxed)
        // Who reads the messages may go: the run goes on, and train.log has them.
        signal(SIGPIPE, SIG_IGN)
    }

    /// Does what cannot be stopped in the middle; a signal meanwhile says what it waits for.
    static func waiting<Result>(for what: String, _ body: () throws -> Result) rethrows -> Result {
        wait.withLock { $0 = what }
        defer { wait.withLock { $0 = nil } }
        return try body()
    }

    /// In a thread of its own, where, unlike in a handler, anything may be called.
    fileprivate static func act() {
        var number: UInt8 = 0
        var first: Double?
        while read(readEnd.load(ordering: .relaxed), &number, 1) == 1 || errno == EINTR {
            if !isOrderly.load(ordering: .relaxed) { end(by: Int32(number)) }
            let now = StatusLine.now()
            if let first {
                // Within half a second it is the same wish: `timeout` and batch systems send a signal to the
                // process and then to its group. A run that ends now is resumed from what it has.
                if now - first > 0.5, !isAmongRanks.load(ordering: .relaxed) { _exit(128 + Int32(number)) }
            } else {
                first = now
                let what =
                    wait.withLock { $0.map { "waiting for the end of \($0)" } } ?? "this may take a second or two"
                let again = isAmongRanks.load(ordering: .relaxed) ? "" : " press again to quit at once"
                say("\nstopping: \(what) ...\(again)")
            }
        }
    }

    /// Ends the process as the signal would have, with nothing half-written left behind.
    private static func end(by number: Int32) -> Never {
        AtomicFile.abandonAll {
            let name =
                [SIGINT: "SIGINT", SIGTERM: "SIGTERM", SIGHUP: "SIGHUP", SIGUSR1: "SIGUSR1"][number]
                ?? "signal \(number)"
            say("\nstopped by \(name); nothing half-written is left")
            signal(number, SIG_DFL)
            unblock(number)
            raise(number)
            _exit(128 + number)
        }
    }

    /// Ends a command that stopped in good order and left nothing that could go on.
    public static func end() -> Never { end(by: lastSignal.load(ordering: .relaxed)) }

    private static func unblock(_ number: Int32) {
        var one = sigset_t()
        sigemptyset(&one)
        sigaddset(&one, number)
        pthread_sigmask(SIG_UNBLOCK, &one, nil)
    }

    private static func say(_ text: String) {
        if !isQuiet.load(ordering: .relaxed) { printToStandardError(text) }
    }

    /// Names the process that started this one for its own ends.
    public static let parentVariable = "COSMOS_TRAIN_PARENT"

    /// Wishes to stop when the process that `parentVariable` names is gone: a sweep that was killed leaves no run
    /// behind that nobody knows of. Without the variable nothing happens.
    public static func stopWithParent() {
        guard let value = getenv(parentVariable), let parent = pid_t(String(cString: value)) else { return }
        Thread.detachNewThread {
            while getppid() == parent { sleep(1) }
            flag.request()
        }
    }
}

private func actOnSignals(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Interruption.act()
    return nil
}

/// Runs inside a signal handler: nothing here allocates or locks.
private func handleSignal(_ number: Int32) {
    let code = errno
    Interruption.lastSignal.store(number, ordering: .relaxed)
    if Interruption.isOrderly.load(ordering: .relaxed) { Interruption.flag.request() }
    var byte = UInt8(number)
    write(Interruption.writeEnd.load(ordering: .relaxed), &byte, 1)
    errno = code
}
