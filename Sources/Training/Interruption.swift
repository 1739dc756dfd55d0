import Foundation
import Glibc
import Synchronization
import TensorCore

/// SIGINT (Ctrl-C), SIGTERM and SIGHUP as a wish to stop in good order.
///
/// The first one sets `flag`, which every long computation looks at between its blocks; a second one
/// ends the process at once, with the shell's usual exit code (128 + signal).
public enum Interruption {
    /// Set by the first signal.
    public static let flag = CancellationFlag()

    fileprivate static let firstSignal = Atomic<Int>(0)
    fileprivate static let message: StaticString = """

        stopping: this may take a second or two ... press again to quit at once

        """

    /// Starts to listen. Signals that the parent process had switched off (`nohup`, a background job
    /// of a script) stay off.
    public static func install() {
        // First use makes the globals, which a handler must not do.
        _ = (flag.isRequested, firstSignal.load(ordering: .relaxed), message.utf8CodeUnitCount)
        // Who reads the messages may go: the run goes on, and train.log has them.
        signal(SIGPIPE, SIG_IGN)
        for number in [SIGINT, SIGTERM, SIGHUP] {
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
            var one = sigset_t()
            sigemptyset(&one)
            sigaddset(&one, number)
            pthread_sigmask(SIG_UNBLOCK, &one, nil)
        }
    }
}

extension Interruption {
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

/// Runs inside a signal handler: nothing here allocates or locks.
private func handleSignal(_ number: Int32) {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    let now = time.tv_sec * 1000 + time.tv_nsec / 1_000_000 + 1
    let (isFirst, first) = Interruption.firstSignal.compareExchange(expected: 0, desired: now, ordering: .relaxed)
    if isFirst {
        Interruption.flag.request()
        write(STDERR_FILENO, Interruption.message.utf8Start, Interruption.message.utf8CodeUnitCount)
    } else if now - first > 500 {
        // Within half a second it is the same wish: `timeout` and batch systems send a signal to the
        // process and then to its group.
        _exit(128 + number)
    }
}
