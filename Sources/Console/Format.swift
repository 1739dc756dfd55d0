import Foundation

/// Numbers as people read them; every message and table uses these.
public enum Format {
    /// Bytes in binary units: "17 B", "4.50 GiB".
    public static func bytes(_ count: Int) -> String {
        let (value, unit) = scaled(Double(count), by: 1024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
        return value + unit
    }

    /// A count in powers of a thousand: "950", "12.3 K", "4.56 M", "5.00 B".
    public static func count(_ count: Int) -> String { rate(Double(count)) }

    /// As `count`, for a rate: "812", "3.42 K".
    public static func rate(_ value: Double) -> String {
        guard value.isFinite else { return "-" }
        let (value, unit) = scaled(value, by: 1000, ["", " K", " M", " B", " T"])
        return value + unit
    }

    /// All digits in groups of three: "1,234,567".
    public static func grouped(_ count: Int) -> String {
        var digits = Array(String(count.magnitude))
        var position = digits.count - 3
        while position > 0 {
            digits.insert(",", at: position)
            position -= 3
        }
        return (count < 0 ? "-" : "") + String(digits)
    }

    /// "1 thread", "2 threads".
    public static func plural(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    /// A span of time: "0.42 s", "12 s", "3 min 05 s", "2 h 07 min", "4 d 03 h".
    public static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "-" }
        if seconds < 9.95 { return String(format: seconds < 0.995 ? "%.2f s" : "%.1f s", seconds) }
        let whole = Int(seconds.rounded())
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3600: return String(format: "%d min %02d s", whole / 60, whole % 60)
        case ..<86400: return String(format: "%d h %02d min", whole / 3600, whole / 60 % 60)
        default: return String(format: "%d d %02d h", whole / 86400, whole / 3600 % 24)
        }
    }

    /// A whole number of the first unit, or three significant digits of the largest in which they are below `base`.
    private static func scaled(_ value: Double, by base: Double, _ units: [String]) -> (value: String, unit: String) {
        var (value, unit) = (value, 0)
        // 1023.9996 would otherwise round to "1024 MiB".
        while abs(value) >= base - 0.5, unit < units.count - 1 {
            value /= base
            unit += 1
        }
        let digits = unit == 0 || abs(value) >= 99.95 ? "%.0f" : abs(value) >= 9.995 ? "%.1f" : "%.2f"
        return (String(format: digits, value), units[unit])
    }
}
