/// The most spaces, and the most other characters, of a word.
package let wordLimit = 2048

/// The longest text that is encoded at once, in bytes. SentencePiece's time grows faster than the
/// text (BPE needs three times as long for 256 KiB at once), and few documents are longer than this.
let textPieceSize = 1 << 14

/// Where the word that begins at `start` ends. A word is a run of up to `wordLimit` spaces with up to as
/// many other characters after it. No token of the tokenizers that are trained here crosses the end of
/// one, so that words can be encoded one by one: here in pieces of many, in `tokenizer.json` by its
/// pre-tokenizer.
private func wordEnd(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
    var end = start
    while end < bytes.count, bytes[end] == 0x20 {
        if end - start == wordLimit { return end }
        end += 1
    }
    var characters = 0
    while end < bytes.count, bytes[end] != 0x20 {
        if bytes[end] & 0xC0 != 0x80 {
            if characters == wordLimit { return end }
            characters += 1
        }
        end += 1
    }
    return end
}

/// Where a piece of at most `size` bytes that begins at `start` ends: behind the last word that fits, or
/// the first that `wordLimit` ends; where not even one fits, before a character that would be cut in two.
/// Nil when what is there fits in one piece.
///
/// Many tokenizers of others see text as if a space stood before it. Then the ids of pieces that are cut so
/// (without their first space) are, one after the other, those of the whole, but for words above the limit.
func pieceEnd(_ bytes: UnsafeRawBufferPointer, from start: Int, size: Int = textPieceSize) -> Int? {
    var end = start
    while true {
        let word = wordEnd(bytes, from: end)
        if word - start > size { break }
        if word == bytes.count { return nil }
        if bytes[word] != 0x20 || bytes[word - 1] == 0x20 { return word }
        end = word
    }
    if end > start { return end }
    end = start + size
    while end > start + size - 3, bytes[end] & 0xC0 == 0x80 { end -= 1 }
    return end
}
