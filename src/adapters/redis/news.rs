//! What processes tell each other about sessions: one line of text a change, on one channel.
//!
//! ```text
//! 1 PROCESS changed GENERATION REVISION ID
//! 1 PROCESS gone GENERATION ID
//! 1 PROCESS trial
//! ```
//! The scripts write these lines; the first word is the version of the form.

use crate::adapters::Change;

/// A line as it is understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Another process did this.
    Change(Change),
    /// This process did it, or nobody did anything.
    Nothing,
    /// It is in no form that is known here: what it says has been missed.
    Unknown,
}

/// Understands a line, on behalf of `process`.
pub(super) fn read(line: &[u8], process: &str) -> News {
    understand(line, process).unwrap_or(News::Unknown)
}

fn understand(line: &[u8], process: &str) -> Option<News> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    if words.next()? != "1" {
        return None;
    }
    if words.next()? == process {
        return Some(News::Nothing);
    }
    let change = match words.next()? {
        "trial" => return Some(News::Nothing),
        "changed" => {
            let generation = words.next()?.parse().ok()?;
            let revision = words.next()?.parse().ok()?;
            let id = words.next()?.parse().ok()?;
            Change::Changed {
                id,
                generation,
                revision,
            }
        }
        "gone" => {
            let generation = Some(words.next()?.parse().ok()?);
            let id = words.next()?.parse().ok()?;
            Change::Gone { id, generation }
        }
        _ => return None,
    };
    words.next().is_none().then_some(News::Change(change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::Generation;

    #[test]
    fn lines_are_understood_or_known_to_be_missed() {
        let generation = Generation::new(7);
        let changed = Change::Changed {
            id: "a".parse().expect("an id"),
            generation,
            revision: 3,
        };
        let gone = Change::Gone {
            id: "a".parse().expect("an id"),
            generation: Some(generation),
        };
        let seven = "0".repeat(31) + "7";
        for (line, wanted) in [
            (format!("1 p changed {seven} 3 a"), News::Change(changed)),
            (format!("1 p gone {seven} a"), News::Change(gone)),
            (format!("1 me gone {seven} a"), News::Nothing),
            ("1 p trial".into(), News::Nothing),
            ("".into(), News::Unknown),
            ("2 p changed 3 a".into(), News::Unknown),
            ("2 me anything".into(), News::Unknown),
            (format!("1 p changed {seven} -3 a"), News::Unknown),
            (format!("1 p gone {seven} a b"), News::Unknown),
            (format!("1 p gone {seven} {{}}"), News::Unknown),
        ] {
            assert_eq!(read(line.as_bytes(), "me"), wanted, "{line}");
        }
        assert_eq!(read(b"\xff", "me"), News::Unknown);
    }
}
