import Foundation

/// A plot of lines and points as SVG that stands alone or within a page, light or dark.
struct LinePlot {
    struct Series {
        var name: String
        /// Which color and mark; the same for an optimizer in every plot.
        var color: Int
        var points: [(x: Double, y: Double)]
        var hasLine = true
        /// Single runs behind their mean.
        var faintPoints: [(x: Double, y: Double)] = []
        /// Where there is no loss, because the run diverged: crosses at the top.
        var diverged: [Double] = []
    }

    var title: String
    var xLabel: String
    var yLabel = "validation loss (nats a token)"
    var isXLogarithmic = false
    var series: [Series]
    /// Losses above are cut off: the steep beginning would hide the rest.
    var highestY = Double.infinity

    private static let (width, height) = (640.0, 400.0)
    private static let frame = (left: 68.0, right: 620.0, top: 64.0, bottom: 350.0)

    /// The SVG element; nil where there is nothing to draw.
    var svg: String? {
        let all = series.flatMap { $0.points + $0.faintPoints }.filter {
            $0.x.isFinite && $0.y.isFinite && (!isXLogarithmic || $0.x > 0)
        }
        let shown = all.filter { $0.y <= highestY }
        guard !shown.isEmpty else { return nil }
        let x = Axis(
            shown.map(\.x) + series.flatMap(\.diverged), from: Self.frame.left, to: Self.frame.right,
            isLogarithmic: isXLogarithmic)
        let y = Axis(shown.map(\.y), from: Self.frame.bottom, to: Self.frame.top, isLogarithmic: false)
        return """
            <svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" \
            role="img" aria-label="\(title.escapedForXML)">
            <style>\(Self.style)</style>
            <clipPath id="\(clipName)"><rect x="\(Self.frame.left)" y="\(Self.frame.top - 6)" \
            width="\(Self.frame.right - Self.frame.left)" height="\(Self.frame.bottom - Self.frame.top + 12)"/></clipPath>
            <text class="title" x="\(Self.frame.left)" y="22">\(title.escapedForXML)</text>
            \(grid(x, y))\(legend)\(series.map { drawing($0, x, y) }.joined())</svg>
            """
    }

    private var clipName: String { "clip-" + title.lowercased().map { $0.isLetter ? String($0) : "-" }.joined() }

    private func grid(_ x: Axis, _ y: Axis) -> String {
        let (left, right, top, bottom) = Self.frame
        var text = ""
        for tick in x.ticks {
            let place = decimal(x.place(tick))
            text += "<path class=\"grid\" d=\"M\(place) \(top)V\(bottom)\"/>"
            text +=
                "<text class=\"tick\" text-anchor=\"middle\" x=\"\(place)\" y=\"\(bottom + 17)\">\(x.label(tick))</text>\n"
        }
        for tick in y.ticks {
            let place = decimal(y.place(tick))
            text += "<path class=\"grid\" d=\"M\(left) \(place)H\(right)\"/>"
            text +=
                "<text class=\"tick\" text-anchor=\"end\" x=\"\(left - 7)\" y=\"\(place)\" dy=\"0.35em\">\(y.label(tick))</text>\n"
        }
        text += "<path class=\"axis\" d=\"M\(left) \(top)V\(bottom)H\(right)\"/>\n"
        let middle = (left + right) / 2
        text +=
            "<text class=\"label\" text-anchor=\"middle\" x=\"\(middle)\" y=\"\(bottom + 39)\">\(xLabel.escapedForXML)</text>\n"
        let center = (top + bottom) / 2
        text += "<text class=\"label\" text-anchor=\"middle\" transform=\"translate(17 \(center)) rotate(-90)\">"
        return text + "\(yLabel.escapedForXML)</text>\n"
    }

    /// Names in a row above the frame, as wide as their letters take.
    private var legend: String {
        var place = Self.frame.left
        return series.filter { !$0.name.isEmpty }.map { series in
            let name = series.name.escapedForXML
            let mark = mark(series.color, place + 6, 44)
            let item =
                "\(mark)<text class=\"label\" x=\"\(decimal(place + 16))\" y=\"44\" dy=\"0.35em\">\(name)</text>\n"
            place += 34 + 7.2 * Double(series.name.count)
            return item
        }.joined()
    }

    private func drawing(_ series: Series, _ x: Axis, _ y: Axis) -> String {
        let points = series.points.filter { $0.x.isFinite && $0.y.isFinite && (!isXLogarithmic || $0.x > 0) }
        var text = "<g clip-path=\"url(#\(clipName))\">"
        if series.hasLine, points.count > 1 {
            let path = points.map { "\(decimal(x.place($0.x))) \(decimal(y.place($0.y)))" }.joined(separator: "L")
            text += "<path class=\"line c\(series.color % 8)\" d=\"M\(path)\"/>"
        }
        for point in series.faintPoints where point.y.isFinite && (!isXLogarithmic || point.x > 0) {
            text += "<g opacity=\"0.45\">\(mark(series.color, x.place(point.x), y.place(point.y), size: 2.6))</g>"
        }
        for value in series.diverged {
            text += "<text class=\"label\" text-anchor=\"middle\" x=\"\(decimal(x.place(value)))\" "
            text += "y=\"\(Self.frame.top + 9)\"><title>\(series.name.escapedForXML) diverged</title>✕</text>"
        }
        // Marks of their own only while they can be told apart.
        let step = max(1, points.count / 25)
        for (index, point) in points.enumerated() where index % step == 0 || index == points.count - 1 {
            text += mark(series.color, x.place(point.x), y.place(point.y))
        }
        return text + "</g>\n"
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

    private static let style: String = {
        let light = ["#2f6fb5", "#c8423f", "#2e8540", "#b86200", "#7d4fa3", "#0f7f86", "#8a5a3c", "#6b6b6b"]
        let dark = ["#79b0ee", "#f08683", "#77cf88", "#f0a95a", "#c49be6", "#62c9d0", "#d3a688", "#b5b5b5"]
        func colors(_ colors: [String]) -> String {
            colors.enumerated().map { ".plot .line.c\($0){stroke:\($1)}.plot .mark.c\($0){fill:\($1)}" }.joined()
        }
        return """
            .plot{font:12.5px system-ui,sans-serif}.plot text{fill:#333}.plot .title{font-weight:600;font-size:15px}\
            .plot .grid{stroke:#8884;fill:none}.plot .axis{stroke:#888;fill:none}\
            .plot .line{fill:none;stroke-width:2;stroke-linejoin:round}\(colors(light))\
            @media (prefers-color-scheme:dark){@media screen{.plot text{fill:#ddd}\(colors(dark))}}
            """
    }()
}

/// A range of values laid on a range of places, with round numbers as ticks.
private struct Axis {
    let ticks: [Double]
    private let low: Double
    private let high: Double
    private let start: Double
    private let end: Double
    private let isLogarithmic: Bool

    init(_ values: [Double], from start: Double, to end: Double, isLogarithmic: Bool) {
        (self.start, self.end, self.isLogarithmic) = (start, end, isLogarithmic)
        let scaled = values.map { isLogarithmic ? log10($0) : $0 }
        var (low, high) = (scaled.min() ?? 0, scaled.max() ?? 1)
        let span = high - low
        let margin = span > 0 ? 0.04 * span : isLogarithmic ? 0.3 : max(abs(high) * 0.05, 1e-3)
        // A curve over tokens or time begins at nought.
        low = !isLogarithmic && low >= 0 && low < 0.3 * high ? 0 : low - margin
        high += margin
        (self.low, self.high) = (low, high)
        if isLogarithmic {
            let all = (Int(low.rounded(.down))...Int(high.rounded(.up))).flatMap { power in
                [1.0, 2, 5].map { $0 * pow(10, Double(power)) }
            }
            let inside = all.filter { (low...high).contains(log10($0)) }
            // Over many decades the powers of ten are enough.
            ticks = inside.count > 12 ? inside.filter { abs(log10($0) - log10($0).rounded()) < 1e-9 } : inside
        } else {
            let rough = (high - low) / 6
            let power = pow(10, log10(rough).rounded(.down))
            let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough } ?? rough
            ticks = stride(from: (low / step).rounded(.up) * step, through: high, by: step).map {
                abs($0) < step / 1e6 ? 0 : $0
            }
        }
    }

    func place(_ value: Double) -> Double {
        let scaled = isLogarithmic ? log10(value) : value
        return start + (scaled - low) / (high - low) * (end - start)
    }

    func label(_ tick: Double) -> String {
        if tick == 0 { return "0" }
        if isLogarithmic { return abs(tick) < 0.001 || abs(tick) >= 1e5 ? exponential(tick) : "\(shortest(tick))" }
        return shortest(tick)
    }

    private func exponential(_ value: Double) -> String {
        let power = log10(value).rounded(.down)
        return "\(Int((value / pow(10, power)).rounded()))e\(Int(power))"
    }

    private func shortest(_ value: Double) -> String { String(format: "%.6g", value) }
}

/// A tenth of a pixel is enough.
private func decimal(_ value: Double) -> String { String(format: "%.1f", min(max(value, -1e5), 1e5)) }
