import Configuration
import Console
import Foundation

/// Names and values in two columns that line up; rows without a value are left out.
func alignedTable(_ rows: [(name: String, value: String?)]) -> String {
    aligned(rows.compactMap { row in row.value.map { [row.name, $0] } })
}

/// Prints a command's result for programs, under keys_of_this_form.
func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    try printResult(String(decoding: try encoder.encode(value), as: UTF8.self))
}

/// Prints a command's result: as it is to a file or program, without control characters to a terminal. Where it
/// cannot be written, the command has failed and says so; but a reader who has seen enough (`| head`) ends the
/// program as any other: quietly.
func printResult(_ text: String, terminator: String = "\n") throws {
    let code = writeAll((isatty(STDOUT_FILENO) == 1 ? text.printable : text) + terminator, to: STDOUT_FILENO)
    if code == EPIPE { exit(128 + SIGPIPE) }
    if code != 0 {
        throw UserError(
            .inputOutput, "cannot write to the standard output: \(String(cString: strerror(code)))",
            hint: "see where it leads, and whether there is space")
    }
}
