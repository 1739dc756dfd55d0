/// A table with a title and remarks, as text, Markdown or HTML.
struct Table {
    let title: String
    let header: [String]
    var rows: [[String]] = []
    var remarks: [String] = []
    /// Columns that hold words; the others hold numbers and are set right.
    var textColumns: Set<Int> = [0]

    var text: String {
        let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
        let lines = ([header] + rows).map { row in
            row.indices.map { column in
                let space = String(repeating: " ", count: widths[column] - row[column].count)
                return textColumns.contains(column) ? row[column] + space : space + row[column]
            }.joined(separator: "  ").trimmedAtEnd
        }
        let rule = String(repeating: "-", count: lines.map(\.count).max() ?? 0)
        let body = rows.isEmpty ? [] : [lines[0], rule] + lines.dropFirst()
        return ([title] + body + remarks.map { $0.wrapped(at: 110) }).joined(separator: "\n") + "\n"
    }

    var markdown: String {
        func line(_ cells: [String]) -> String {
            "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
        }
        let rule = header.indices.map { textColumns.contains($0) ? "---" : "---:" }
        let body = rows.isEmpty ? [] : [line(header), line(rule)] + rows.map(line) + [""]
        return (["### \(title)", ""] + body).joined(separator: "\n") + "\n" + remarks.map { "\($0)\n" }.joined()
    }

    var html: String {
        func cells(_ row: [String], _ tag: String) -> String {
            row.enumerated().map { column, cell in
                "<\(tag)\(textColumns.contains(column) ? " class=\"words\"" : "")>\(cell.escapedForXML)</\(tag)>"
            }.joined()
        }
        var text = "<h2>\(title.escapedForXML)</h2>\n"
        if !rows.isEmpty {
            text += "<div class=\"table\"><table>\n<thead><tr>\(cells(header, "th"))</tr></thead>\n<tbody>\n"
            text += rows.map { "<tr>\(cells($0, "td"))</tr>\n" }.joined() + "</tbody>\n</table></div>\n"
        }
        return text + remarks.map { "<p class=\"remark\">\($0.escapedForXML)</p>\n" }.joined()
    }
}

extension String {
    /// As text or as an attribute's value of XML and HTML.
    var escapedForXML: String {
        replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
            .replacing("\"", with: "&quot;")
    }

    /// Broken at spaces into lines of at most `width` characters, where words allow it.
    func wrapped(at width: Int) -> String {
        var lines: [String] = []
        for word in split(separator: " ") {
            if let last = lines.last, last.count + 1 + word.count <= width {
                lines[lines.count - 1] = last + " " + word
            } else {
                lines.append(String(word))
            }
        }
        return lines.joined(separator: "\n")
    }

    var trimmedAtEnd: String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
