import Configuration
import Foundation

/// Names and values in two columns that line up; rows without a value are left out.
func alignedTable(_ rows: [(name: String, value: String?)]) -> String {
    let rows = rows.compactMap { row in row.value.map { (row.name, $0) } }
    let width = rows.map(\.0.count).max() ?? 0
    return rows.map { $0.0.padding(toLength: width + 2, withPad: " ", startingAt: 0) + $0.1 }.joined(separator: "\n")
}

/// Prints what is not a command's result.
func printToStandardError(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
}
