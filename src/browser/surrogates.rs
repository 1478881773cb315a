//! JSON with halves of surrogate pairs, which a page's strings may hold and `serde_json` refuses as a whole.

/// The text with U+FFFD in place of each escaped half that has no other half; none where there is none.
pub(super) fn repair(text: &str) -> Option<String> {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let (taken, lone) = match unit(escape) {
            Some(0xD800..=0xDBFF) => match escape.get(6..).and_then(unit) {
                Some(0xDC00..=0xDFFF) => (12, false),
                _ => (6, true),
            },
            Some(0xDC00..=0xDFFF) => (6, true),
            Some(_) => (6, false),
            // `\"` and its like; a backslash at the very end is no JSON anyway.
            None => (
                1 + escape[1..].chars().next().map_or(0, char::len_utf8),
                false,
            ),
        };
        repaired.push_str(&rest[..at]);
        repaired.push_str(if lone { "\\ufffd" } else { &escape[..taken] });
        found |= lone;
        rest = &escape[taken..];
    }
    repaired.push_str(rest);
    found.then_some(repaired)
}

/// The UTF-16 unit of a `\uXXXX` at the beginning.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::repair;

    #[test]
    fn halves_are_replaced_and_pairs_kept() {
        for (text, wanted) in [
            (r#"{"a":"plain \" \\ \n"}"#, None),
            (r#""\ud83d\ude00""#, None),
            (r#""\ud83d""#, Some(r#""\ufffd""#)),
            (
                r#""\ude00\ud83d\ude00\ud83dx""#,
                Some(r#""\ufffd\ud83d\ude00\ufffdx""#),
            ),
            (r#""\\ud83d""#, None),
            (r#""\ud83d\n""#, Some(r#""\ufffd\n""#)),
            (r#""é\udfffé""#, Some(r#""é\ufffdé""#)),
        ] {
            assert_eq!(repair(text).as_deref(), wanted, "{text}");
            if let Some(repaired) = repair(text) {
                serde_json::from_str::<serde_json::Value>(&repaired).unwrap();
            }
        }
    }
}
