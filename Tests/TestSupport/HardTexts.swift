import TensorCore

/// Text in which tokenizers lose something first, or cut otherwise.
public let hardTexts: [String] = {
    let fixed = [
        "def f(x):\n    if x:\n\t\treturn  x  # end\r\n\n\n", " ", "   ", "\n", "\t", "\r", " a ", "  a   b    ",
        "\u{2581}", "a\u{2581}b \u{2581}\u{2581}", "\0", "a\0b\u{1}\u{1f}\u{7f}\u{85}",
        "a\u{a0}b\u{3000}c\u{200b}\u{2028}",
        "\u{feff}x", "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}", "e\u{301} \u{e9} \u{212b} \u{fb01} \u{2460} \u{bd}",
        "</s><s><unk><pad> <0x41> x<0x0A>", "\u{2047} \u{2585}",
        "\u{3b1}\u{3b2} \u{43f}\u{440} \u{5e9}\u{5dc} \u{645}\u{631} \u{928}\u{92e}\u{938}\u{94d} \u{e2a}\u{e27}",
        "\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}\u{3002} \u{3053}\u{3093} \u{c548}\u{b155} \u{16a0} \u{13000}",
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}",
        String(repeating: " ", count: 5000) + "x" + String(repeating: " ", count: 2049),
        String(repeating: "a", count: 7000) + " " + String(repeating: "\u{65e5}\u{672c}", count: 3000),
        String(repeating: "kato miren ", count: 4000),
    ]
    var random = Random(seed: 11, stream: "hard texts")
    let parts = [
        " ", "  ", "\n", "\t", "a", "k", "ka", "to", "mi", "ren", ".", "=", "==", "<", "/s>", "0x41>", "\u{e9}",
        "\u{301}",
    ]
    let mixed = (0..<400).map { _ in (0..<1 + random.below(40)).map { _ in parts[random.below(parts.count)] }.joined() }
    let anything = (0..<50).map { _ in
        String(String.UnicodeScalarView((0..<40).compactMap { _ in Unicode.Scalar(UInt32(random.below(0x110000))) }))
    }
    return fixed + mixed + anything
}()
