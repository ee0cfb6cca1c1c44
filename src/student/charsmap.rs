//! The compiled map of characters that SentencePiece models carry, looked through before it is used: the library that reads
//! it follows its numbers without asking where they lead.

/// What is wrong with the bytes of a map: the length of a double array, the array, and the texts that it points to.
pub fn check(map: &[u8]) -> Result<(), String> {
    let broken = || "its map of characters (precompiled_charsmap) is broken".to_owned();
    let (length, rest) = map.split_first_chunk::<4>().ok_or_else(broken)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (array, texts) = rest.split_at_checked(length).ok_or_else(broken)?;
    let units: Vec<u32> =
        array.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]])).collect();
    let texts = std::str::from_utf8(texts).map_err(|_| broken())?;
    if units.is_empty() || !length.is_multiple_of(4) {
        return Err(broken());
    }
    let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
    let (mut seen, mut open) = (vec![false; units.len()], vec![0usize]);
    seen[0] = true;
    while let Some(node) = open.pop() {
        let unit = units[node];
        let next = node ^ offset(unit);
        // A leaf's text begins where its value says.
        if node > 0 && unit >> 8 & 1 == 1 {
            let value = units.get(next).ok_or_else(broken)? & (u32::MAX >> 1);
            if !texts.is_char_boundary(value as usize) {
                return Err(broken());
            }
        }
        // Any byte of a text may be looked up here.
        for byte in 1..=255 {
            let child = next ^ byte;
            let unit = *units.get(child).ok_or_else(broken)?;
            if unit & (1 << 31 | 0xff) == byte as u32 && !std::mem::replace(&mut seen[child], true) {
                open.push(child);
            }
        }
    }
    Ok(())
}

/// The same for the maps in a `tokenizer.json`, which holds them in base64.
pub fn check_json(value: &serde_json::Value) -> Result<(), String> {
    use base64::Engine as _;
    match value {
        serde_json::Value::Object(map) => map.iter().try_for_each(|(key, value)| match value.as_str() {
            Some(text) if key == "precompiled_charsmap" => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(text);
                check(&bytes.map_err(|_| "its map of characters (precompiled_charsmap) is no base64".to_owned())?)
            }
            _ => check_json(value),
        }),
        serde_json::Value::Array(list) => list.iter().try_for_each(check_json),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(units: &[u32], texts: &str) -> Vec<u8> {
        let array: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        [&(array.len() as u32).to_le_bytes()[..], &array, texts.as_bytes()].concat()
    }

    #[test]
    fn numbers_that_lead_nowhere_are_found() {
        // Units of one block; the root looks up in the same block.
        let mut units = vec![0; 512];
        units[0] = 256 << 10;
        assert_eq!(check(&map(&units, "")), Ok(()));
        units[0] = 512 << 10;
        assert!(check(&map(&units, "")).is_err(), "beyond the array");
        // `a` is a leaf with the text at byte 1.
        units[0] = 256 << 10;
        units[256 ^ 97] = 1 << 10 | 1 << 8 | 97;
        let value = 256 ^ 97 ^ 1;
        units[value] = 1 << 31 | 1;
        assert!(check(&map(&units, "\0b\0")).is_ok());
        units[value] = 1 << 31 | 4000;
        assert!(check(&map(&units, "\0b\0")).is_err(), "beyond the texts");
        for broken in [&[][..], &[1, 0, 0][..], &[8, 0, 0, 0, 1], &[0, 0, 0, 0]] {
            assert!(check(broken).is_err());
        }
    }
}
