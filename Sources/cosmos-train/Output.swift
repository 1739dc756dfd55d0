import Configuration
import Foundation

/// Names and values in two columns that line up; rows without a value are left out.
func alignedTable(_ rows: [(name: String, value: String?)]) -> String {
    aligned(rows.compactMap { row in row.value.map { [row.name, $0] } })
}

/// Prints what is not a command's result.
func printToStandardError(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
}
