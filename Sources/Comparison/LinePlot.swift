import Foundation

/// A plot of lines and points as SVG that stands alone or within a page. The page says what is dark
/// (`darkStyle`); alone it is light, as a figure on paper.
struct LinePlot {
    struct Series {
        /// Its entry in the legend; empty for none.
        var name: String
        /// Which color and mark; the same for an optimizer in every plot.
        var color: Int
        /// A value that is not finite leaves a gap.
        var points: [(x: Double, y: Double)]
        var style = Style.lineAndMarks
        /// Single runs behind their mean.
        var faintPoints: [(x: Double, y: Double)] = []
        /// From the lowest to the highest of several runs.
        var band: [(x: Double, low: Double, high: Double)] = []
        /// Crosses at the top, where a run diverged and has no loss.
        var diverged: [Double] = []
    }

    enum Style {
        case lineAndMarks, line, marks
        /// Thin and pale, behind the others.
        case faint
    }

    var title: String
    var xLabel: String
    var yLabel = "validation loss (nats a token)"
    var isXLogarithmic = false
    /// The first is behind the others.
    var series: [Series]
    var xLimits = PlotLimits()
    var yLimits = PlotLimits()

    private static let frame = (left: 68.0, right: 620.0, top: 40.0)
    private static let (lineHeight, letterWidth) = (19.0, 6.9)

    /// Entries of the legend, which stands beside the frame, whatever their number.
    private var named: [Series] { series.filter { !$0.name.isEmpty } }
    private var bottom: Double { max(350, Self.frame.top + Self.lineHeight * Double(named.count)) }

    /// The SVG element; nil where there is nothing to draw.
    var svg: String? {
        let front = series.filter { $0.style != .faint }
        let shown = (front.isEmpty ? series : front).flatMap { $0.points + $0.faintPoints }.filter {
            isDrawn($0) && xLimits.contain($0.x)
        }
        let inside = shown.filter { yLimits.contain($0.y) }
        guard !inside.isEmpty else { return nil }
        let x = Axis(
            shown.map(\.x) + series.flatMap(\.diverged), xLimits, from: Self.frame.left, to: Self.frame.right,
            isLogarithmic: isXLogarithmic)
        let y = Axis(inside.map(\.y), yLimits, from: bottom, to: Self.frame.top, isLogarithmic: false)
        let letters = named.map(\.name.count).max() ?? 0
        let width = Int(Self.frame.right + (named.isEmpty ? 20 : 44 + Self.letterWidth * Double(letters)))
        return """
            <svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width) \(Int(bottom) + 50)" \
            role="img" aria-label="\(title.escapedForXML)">
            <style>\(Self.style)</style>
            <clipPath id="\(clipName)"><rect x="\(Self.frame.left)" y="\(Self.frame.top - 6)" \
            width="\(Self.frame.right - Self.frame.left + 6)" height="\(bottom - Self.frame.top + 12)"/></clipPath>
            <text class="title" x="\(Self.frame.left)" y="22">\(title.escapedForXML)</text>
            \(grid(x, y))\(legend)\(series.map { drawing($0, x, y) }.joined())\(series.map { tips($0, x, y) }.joined())</svg>
            """
    }

    private var clipName: String { "clip-" + title.lowercased().map { $0.isLetter ? String($0) : "-" }.joined() }

    private func grid(_ x: Axis, _ y: Axis) -> String {
        let (left, right, top) = Self.frame
        var text = ""
        for tick in x.ticks {
            let place = decimal(x.place(tick))
            text +=
                "<path class=\"grid\" d=\"M\(place) \(top)V\(bottom)\"/><path class=\"axis\" d=\"M\(place) \(bottom)v5\"/>"
            text += label(x.label(tick), "x=\"\(place)\" y=\"\(bottom + 19)\"", anchor: "middle")
        }
        for tick in y.ticks {
            let place = decimal(y.place(tick))
            text +=
                "<path class=\"grid\" d=\"M\(left) \(place)H\(right)\"/><path class=\"axis\" d=\"M\(left) \(place)h-5\"/>"
            text += label(y.label(tick), "x=\"\(left - 8)\" y=\"\(place)\" dy=\"0.35em\"", anchor: "end")
        }
        let small = x.smallTicks.map { "M\(decimal(x.place($0))) \(bottom)v3" }
        text += "<path class=\"axis\" d=\"M\(left) \(top)V\(bottom)H\(right)\(small.joined())"
        text += y.smallTicks.map { "M\(left) \(decimal(y.place($0)))h-3" }.joined() + "\"/>\n"
        text += label(xLabel, "x=\"\((left + right) / 2)\" y=\"\(bottom + 39)\"", anchor: "middle")
        return text
            + label(yLabel, "transform=\"translate(17 \((top + bottom) / 2)) rotate(-90)\"", anchor: "middle")
    }

    private func label(_ text: String, _ place: String, anchor: String = "start") -> String {
        "<text text-anchor=\"\(anchor)\" \(place)>\(text.escapedForXML)</text>\n"
    }

    private var legend: String {
        named.enumerated().map { index, series in
            let (x, y) = (Self.frame.right + 20, Self.frame.top + Self.lineHeight * (Double(index) + 0.5))
            let swatch =
                (series.style == .marks ? "" : line(series, "\(x - 9) \(y)h18"))
                + ([.marks, .lineAndMarks].contains(series.style) ? mark(series.color, x, y) : "")
            return swatch + label(series.name, "x=\"\(x + 14)\" y=\"\(y)\" dy=\"0.35em\"")
        }.joined()
    }

    private func line(_ series: Series, _ path: String) -> String {
        "<path class=\"line c\(series.color % 8)\(series.style == .faint ? " faint" : "")\" d=\"M\(path)\"/>"
    }

    private func isDrawn(_ point: (x: Double, y: Double)) -> Bool {
        // Beyond, the span of the axis might be no number.
        abs(point.x) < 1e30 && abs(point.y) < 1e30 && (!isXLogarithmic || point.x > 0)
    }

    private func drawing(_ series: Series, _ x: Axis, _ y: Axis) -> String {
        var text = "<g clip-path=\"url(#\(clipName))\">"
        let band = series.band.filter { abs($0.low) < 1e30 && abs($0.high) < 1e30 && $0.high > $0.low }
        if !band.isEmpty {
            let edge = band.map { ($0.x, $0.high) } + band.reversed().map { ($0.x, $0.low) }
            let corners = edge.map { "\(decimal(x.place($0.0))),\(decimal(y.place($0.1)))" }.joined(separator: " ")
            text += "<polygon class=\"mark c\(series.color % 8) band\" points=\"\(corners)\"/>"
        }
        if series.style != .marks {
            for part in series.points.split(whereSeparator: { !isDrawn($0) }) where part.count > 1 {
                let path = part.map { "\(decimal(x.place($0.x))) \(decimal(y.place($0.y)))" }.joined(separator: "L")
                text += line(series, path)
            }
        }
        for point in series.faintPoints where isDrawn(point) {
            text += "<g opacity=\"0.45\">\(mark(series.color, x.place(point.x), y.place(point.y), size: 2.6))</g>"
        }
        for value in series.diverged {
            text += "<text text-anchor=\"middle\" x=\"\(decimal(x.place(value)))\" "
            text += "y=\"\(Self.frame.top + 9)\"><title>\(series.name.escapedForXML) diverged</title>✕</text>"
        }
        // Points have marks as long as these can be told apart; a single point has nothing else to show.
        let points = series.points.filter(isDrawn)
        let hasMarks = [.lineAndMarks, .marks].contains(series.style) || points.count == 1
        if hasMarks {
            text += thinned(points, to: 25).map { mark(series.color, x.place($0.x), y.place($0.y)) }.joined()
        }
        return text + "</g>\n"
    }

    /// What shows under the pointer, or a finger: a value beside its point. A figure on paper shows none.
    private func tips(_ series: Series, _ x: Axis, _ y: Axis) -> String {
        if series.style == .faint { return "" }
        let name = self.series.first { $0.color == series.color && !$0.name.isEmpty }?.name ?? ""
        var text = ""
        for point in thinned(series.points.filter(isDrawn), to: 60) {
            let (px, py) = (x.place(point.x), y.place(point.y))
            guard px > Self.frame.left - 1, px < Self.frame.right + 7, py > Self.frame.top - 7, py < bottom + 1
            else { continue }
            let isLeft = px < (Self.frame.left + Self.frame.right) / 2
            let value = String(format: "%@ %.4f at %.4g", name.escapedForXML, point.y, point.x)
            text += "<g class=\"point\"><circle cx=\"\(decimal(px))\" cy=\"\(decimal(py))\" r=\"8\"/>"
            text += "<text class=\"tip\" text-anchor=\"\(isLeft ? "start" : "end")\" "
            text += "x=\"\(decimal(px + (isLeft ? 9 : -9)))\" y=\"\(decimal(py - 9))\">\(value)</text></g>"
        }
        return text
    }

    /// Shape as well as color, for print and for the color blind.
    private func mark(_ color: Int, _ x: Double, _ y: Double, size: Double = 4.2) -> String {
        let kind = "class=\"mark c\(color % 8)\""
        func polygon(_ corners: [(Double, Double)]) -> String {
            let points = corners.map { "\(decimal(x + size * $0.0)),\(decimal(y + size * $0.1))" }
            return "<polygon \(kind) points=\"\(points.joined(separator: " "))\"/>"
        }
        return switch color % 4 {
        case 1: polygon([(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)])
        case 2: polygon([(0, -1.15), (1.1, 0.8), (-1.1, 0.8)])
        case 3: polygon([(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)])
        default: "<circle \(kind) cx=\"\(decimal(x))\" cy=\"\(decimal(y))\" r=\"\(size)\"/>"
        }
    }

    private static let style = """
        .plot{font:12.5px system-ui,sans-serif}.plot text{fill:#333}.plot .title{font-weight:600;font-size:15px}\
        .plot .grid{stroke:#888;stroke-opacity:.25;fill:none}.plot .axis{stroke:#888;fill:none}\
        .plot .line{fill:none;stroke-width:2;stroke-linejoin:round}.plot .faint{stroke-width:1;stroke-opacity:.35}\
        .plot .band{fill-opacity:.18}.plot .point circle{fill-opacity:0}.plot .tip{display:none}\
        .plot .point:hover .tip{display:block;font-weight:600;paint-order:stroke;stroke:#fff;stroke-width:4px}\
        \(colors(["#2f6fb5", "#c8423f", "#2e8540", "#b86200", "#7d4fa3", "#0f7f86", "#8a5a3c", "#6b6b6b"], in: ".plot"))
        """

    /// For the style of a page that may be dark.
    static let darkStyle = """
        @media (prefers-color-scheme:dark){@media screen{body .plot text{fill:#ddd}body .plot .tip{stroke:#16181c}\
        \(colors(["#79b0ee", "#f08683", "#77cf88", "#f0a95a", "#c49be6", "#62c9d0", "#d3a688", "#b5b5b5"], in: "body .plot"))}}
        """

    private static func colors(_ colors: [String], in place: String) -> String {
        colors.enumerated().map { "\(place) .line.c\($0){stroke:\($1)}\(place) .mark.c\($0){fill:\($1)}" }.joined()
    }
}

/// The ends of an axis, where they do not follow from the values.
public struct PlotLimits: Sendable {
    public var low: Double?
    public var high: Double?

    public init(low: Double? = nil, high: Double? = nil) { (self.low, self.high) = (low, high) }

    func contain(_ value: Double) -> Bool { value >= low ?? -.infinity && value <= high ?? .infinity }

    func divided(by scale: Double) -> PlotLimits {
        PlotLimits(low: low.map { $0 / scale }, high: high.map { $0 / scale })
    }
}

/// A range of values laid on a range of places, with round numbers as ticks.
private struct Axis {
    let ticks: [Double]
    /// Between them, without a number.
    let smallTicks: [Double]
    private let low: Double
    private let high: Double
    private let start: Double
    private let end: Double
    private let isLogarithmic: Bool

    init(_ values: [Double], _ limits: PlotLimits, from start: Double, to end: Double, isLogarithmic: Bool) {
        (self.start, self.end, self.isLogarithmic) = (start, end, isLogarithmic)
        func scaled(_ value: Double) -> Double { isLogarithmic ? log10(value) : value }
        var (low, high) = (values.map(scaled).min() ?? 0, values.map(scaled).max() ?? 1)
        let span = high - low
        let margin = span > 0 ? 0.04 * span : isLogarithmic ? 0.3 : max(abs(high) * 0.05, 1e-3)
        // A curve over tokens or time begins at nought.
        low = limits.low.map(scaled) ?? (!isLogarithmic && low >= 0 && low < 0.3 * high ? 0 : low - margin)
        high = max(limits.high.map(scaled) ?? high + margin, low + 1e-9)
        (self.low, self.high) = (low, high)
        func inside(_ values: [Double]) -> [Double] { values.filter { (low...high).contains(scaled($0)) } }
        if isLogarithmic {
            func multiples(_ digits: [Double]) -> [Double] {
                inside(
                    (Int(low.rounded(.down))...Int(high.rounded(.up))).flatMap { power in
                        digits.map { $0 * pow(10, Double(power)) }
                    })
            }
            let all = multiples([1, 2, 3, 4, 5, 6, 7, 8, 9])
            ticks = [all, multiples([1, 2, 5])].first { $0.count <= 10 } ?? multiples([1])
            smallTicks = high - low < 4 ? all : []
        } else {
            let rough = (high - low) / 6
            let power = pow(10, log10(rough).rounded(.down))
            let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough } ?? rough
            func multiples(_ step: Double) -> [Double] {
                inside(stride(from: (low / step).rounded(.up) * step, through: high, by: step).map { $0 })
            }
            ticks = multiples(step).map { abs($0) < step / 1e6 ? 0 : $0 }
            smallTicks = multiples(step / (step > 1.5 * power && step < 3 * power ? 4 : 5))
        }
    }

    func place(_ value: Double) -> Double {
        let scaled = isLogarithmic ? log10(value) : value
        return start + (scaled - low) / (high - low) * (end - start)
    }

    func label(_ tick: Double) -> String {
        if tick == 0 { return "0" }
        if isLogarithmic, abs(tick) < 0.001 || abs(tick) >= 1e5 { return exponential(tick) }
        return String(format: "%.6g", tick)
    }

    private func exponential(_ value: Double) -> String {
        let power = log10(value).rounded(.down)
        return "\(Int((value / pow(10, power)).rounded()))e\(Int(power))"
    }
}

/// A tenth of a pixel is enough.
private func decimal(_ value: Double) -> String { String(format: "%.1f", min(max(value, -1e5), 1e5)) }
