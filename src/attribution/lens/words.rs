//! The text of a single token of the vocabulary, also of one that is a part of a character.

use crate::student::Tokenizer;

/// A token's text without the white space around it; its bytes where they are no whole character, the vocabulary's own
/// spelling where it has no text, and its number where the student's word table is larger than the vocabulary.
pub fn word(tokenizer: &Tokenizer, id: u32) -> String {
    let Some(spelled) = tokenizer.token(id) else { return format!("#{id}") };
    let text = tokenizer.text(&[id]).unwrap_or_default();
    if text.contains('\u{fffd}') && !spelled.contains('\u{fffd}') {
        return bytes(&spelled).map_or(spelled, |bytes| bytes.iter().map(|byte| format!("\\x{byte:02X}")).collect());
    }
    match text.trim() {
        "" if text.is_empty() => spelled,
        // White space alone is a token too, and would not be seen.
        "" => format!("{text:?}").trim_matches('"').replace(' ', "␣"),
        text => text.to_owned(),
    }
}

/// The bytes behind a token of a byte-level vocabulary, which spells each byte as a printable character (GPT-2's table);
/// `None` where it is spelled otherwise.
fn bytes(spelled: &str) -> Option<Vec<u8>> {
    spelled.chars().map(byte).collect()
}

fn byte(c: char) -> Option<u8> {
    let is_itself = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match u8::try_from(c as u32) {
        Ok(byte) => is_itself(byte).then_some(byte),
        // The others follow each other from 256 on.
        Err(_) => (0..=255u8).filter(|byte| !is_itself(*byte)).nth((c as usize).checked_sub(256)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::student::tokenizer::Specials;

    #[test]
    fn half_a_character_is_shown_as_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        // 魚 is e9 ad 9a: the first two bytes are one token, the third another.
        let json = r#"{"version": "1.0", "added_tokens": [{"id": 4, "content": "<end>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}], "normalizer": null, "pre_tokenizer":
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}, "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "vocab": {"éŃ": 0, "ļ": 1, "Ġgills": 2, "Ġ": 3},
            "merges": []}}"#;
        std::fs::write(&path, json).unwrap();
        let specials = Specials { bos: None, eos: 4, mask: None, unknown: None };
        let tokenizer = Tokenizer::from_file(&path, specials).unwrap();
        let words = [0, 1, 2, 3, 4, 9].map(|id| word(&tokenizer, id));
        assert_eq!(words, ["\\xE9\\xAD", "\\x9A", "gills", "␣", "<end>", "#9"]);
    }
}
