import Console
import Foundation

/// A curve for a terminal, with marks upon it. A character has 2 x 4 dots (Braille).
struct TextPlot {
    var curve: [(x: Double, y: Double)]
    var marks: [(x: Double, y: Double)]
    var xLabel: (Double) -> String

    /// Lines of at most `width` characters; none where there is nothing to draw.
    func lines(width: Int, height: Int) -> [String] {
        let labelWidth = 8
        let columns = min(width - labelWidth - 1, 110)
        let shown = (curve + marks).filter { $0.x.isFinite && $0.y.isFinite }
        guard columns > 10, let right = shown.map(\.x).max(), right > 0 else { return [] }
        // The losses of the first twentieth would make the rest flat.
        let late = shown.filter { $0.x >= right / 20 }.map(\.y)
        guard let low = late.min(), let high = late.max() else { return [] }
        let span = max(high - low, 1e-9)
        func row(_ y: Double, of rows: Int) -> Int {
            Int((Double(rows - 1) * (1 - min(1, max(0, (y - low) / span)))).rounded())
        }
        var dots = [[UInt32]](repeating: [UInt32](repeating: 0, count: columns), count: height)
        let bits: [[UInt32]] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]]
        var (next, last) = (0, Int?.none)
        let points = curve.filter { $0.x.isFinite && $0.y.isFinite }
        for column in 0..<2 * columns where !points.isEmpty {
            let x = right * (Double(column) + 0.5) / Double(2 * columns)
            while next < points.count, points[next].x < x { next += 1 }
            guard next > 0, next < points.count else { continue }
            let (a, b) = (points[next - 1], points[next])
            let place = row(a.y + (b.y - a.y) * (x - a.x) / max(b.x - a.x, 1e-300), of: 4 * height)
            // Up to where the last column was, so that a steep curve has no gaps.
            for y in min(place, last.map { $0 + 1 } ?? place)...max(place, last.map { $0 - 1 } ?? place) {
                dots[y / 4][column / 2] |= bits[column % 2][y % 4]
            }
            last = place
        }
        var cells = dots.map { $0.map { $0 == 0 ? " " : String(Unicode.Scalar(0x2800 + $0)!) } }
        for mark in marks where mark.y.isFinite {
            cells[row(mark.y, of: height)][min(columns - 1, Int(mark.x / right * Double(columns)))] = "o"
        }
        let labels = [0: high, height / 2: (low + high) / 2, height - 1: low]
        let body = cells.enumerated().map { index, cells in
            let label = labels[index].map { String(format: abs($0) < 1000 ? "%7.3f" : "%.0e", $0) } ?? ""
            return String(repeating: " ", count: labelWidth - 1 - label.count) + label + " │" + cells.joined()
        }
        let end = xLabel(right)
        return body + [
            String(repeating: " ", count: labelWidth) + "└" + String(repeating: "─", count: columns),
            String(repeating: " ", count: labelWidth) + " 0"
                + String(repeating: " ", count: max(1, columns - 1 - end.count)) + end,
        ]
    }
}
