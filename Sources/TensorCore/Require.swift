/// Ends the program where a caller breaks a contract, such as shapes that do not match. Unlike `precondition`, it says
/// which in a release build, too: the one that everybody runs.
@inlinable @inline(__always)
public func require(
    _ condition: @autoclosure () -> Bool, _ message: @autoclosure () -> String, file: StaticString = #fileID,
    line: UInt = #line
) {
    if !condition() { fatalError(message(), file: file, line: line) }
}
