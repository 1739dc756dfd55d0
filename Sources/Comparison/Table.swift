/// A table with a title and remarks, as text, Markdown, HTML or LaTeX.
struct Table {
    let title: String
    let header: [String]
    var rows: [[String]] = []
    /// Sentences below the table; those that begin with "- " are a list.
    var remarks: [String] = []
    /// Columns that hold words; the others hold numbers and are set right.
    var textColumns: Set<Int> = [0]

    var text: String {
        let cells = ([header] + rows).map { $0.map(\.onOneLine) }
        let widths = header.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
        let lines = cells.map { row in
            row.indices.map { column in
                let space = String(repeating: " ", count: widths[column] - row[column].count)
                return textColumns.contains(column) ? row[column] + space : space + row[column]
            }.joined(separator: "  ").trimmedAtEnd
        }
        let rule = String(repeating: "-", count: lines.map(\.count).max() ?? 0)
        let body = rows.isEmpty ? [] : [lines[0], rule] + lines.dropFirst()
        return ([title] + body + remarks.map { $0.onOneLine.wrapped(at: 110) }).joined(separator: "\n") + "\n"
    }

    var markdown: String {
        func line(_ cells: [String]) -> String {
            "| " + cells.map(\.escapedForMarkdown).joined(separator: " | ") + " |"
        }
        let rule = header.indices.map { textColumns.contains($0) ? "---" : "---:" }
        let body = rows.isEmpty ? [] : [line(header), line(rule)] + rows.map(line) + [""]
        return (["### \(title)", ""] + body).joined(separator: "\n") + "\n"
            + remarks.map { "\($0.escapedForMarkdown)\n" }.joined()
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
        return text
            + listed(
                paragraph: { "<p class=\"remark\">\($0.escapedForXML)</p>\n" }, begin: "<ul class=\"remark\">\n",
                item: { "<li>\($0.escapedForXML)</li>\n" }, end: "</ul>\n")
    }

    /// For a document with `\\usepackage{booktabs,graphicx}`; a table that is wider than the column is made smaller.
    var latex: String {
        func line(_ cells: [String]) -> String {
            cells.map { $0.escapedForLaTeX.replacing(/^-(?=[0-9])/, with: "$-$") }.joined(separator: " & ") + " \\\\\n"
        }
        let notes = listed(
            paragraph: { $0.escapedForLaTeX + "\n\n" }, begin: "\\begin{itemize}\n",
            item: { "  \\item \($0.escapedForLaTeX)\n" }, end: "\\end{itemize}\n")
        if rows.isEmpty { return "\\paragraph{\(title.escapedForLaTeX)}\n\(notes)" }
        let columns = header.indices.map { textColumns.contains($0) ? "l" : "r" }.joined()
        return
            "\\begin{table}\n\\centering\\footnotesize\\setlength{\\tabcolsep}{3pt}\n\\caption{\(title.escapedForLaTeX)}\n"
            + "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n\\begin{tabular}{\(columns)}\n"
            + "\\toprule\n\(line(header))\\midrule\n\(rows.map(line).joined())\\bottomrule\n\\end{tabular}}\n\n"
            + (notes.isEmpty ? "" : "\\raggedright\n\(notes)")
            + "\\end{table}\n"
    }

    /// The remarks, those of a list between `begin` and `end`.
    private func listed(
        paragraph: (String) -> String, begin: String, item: (String) -> String, end: String
    ) -> String {
        var (text, isInList) = ("", false)
        for remark in remarks {
            let isItem = remark.hasPrefix("- ")
            if isItem != isInList { text += isItem ? begin : end }
            isInList = isItem
            text += isItem ? item(String(remark.dropFirst(2))) : paragraph(remark)
        }
        return text + (isInList ? end : "")
    }
}

extension String {
    /// As text or as an attribute's value of XML and HTML.
    var escapedForXML: String {
        escaped { scalar in
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            default: nil
            }
        }
    }

    var escapedForLaTeX: String {
        escaped { scalar in
            switch scalar {
            case "\\": "\\textbackslash{}"
            case "&", "%", "$", "#", "_", "{", "}": "\\\(scalar)"
            case "~": "\\textasciitilde{}"
            case "^": "\\textasciicircum{}"
            case "<", ">": "$\(scalar)$"
            default: nil
            }
        }
    }

    /// As text of Markdown, in a cell of a table or outside.
    fileprivate var escapedForMarkdown: String {
        // No tag begins with a space.
        escaped { $0 == "|" || $0 == "<" ? "\\\($0)" : nil }.replacing("\\< ", with: "< ")
    }

    /// In one line without control characters, as names of files may hold them, and with scalars replaced. Scalars, not
    /// characters: beside some others a `<` is only a part of a character, and still begins a tag.
    private func escaped(_ replacement: (Unicode.Scalar) -> String?) -> String {
        onOneLine.unicodeScalars.map { replacement($0) ?? String($0) }.joined()
    }

    fileprivate var onOneLine: String { printable.replacing(/[\n\t]/, with: " ") }

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

    var trimmedAtEnd: String { replacing(/\ +$/, with: "") }
}
