//! Validators: what a representation is told apart by, and `If-Match` (RFC 9110, sections 8.8.3 and 13.1.1).

use std::fmt::Write as _;

use http::header::{HeaderMap, HeaderValue, IF_MATCH};
use sha2::{Digest as _, Sha256};

use super::problem::{Name, Problem};
use crate::registry::LiveSession;
use crate::session::settings::Settings;

/// The strong validator of a representation of a session's cookies or state.
///
/// The session's generation goes in: a successor of the same id is another thing. As nobody is shown it, the tag does not let
/// a secret in the representation be guessed either.
pub(super) fn of(session: &LiveSession, representation: &[u8]) -> HeaderValue {
    let mut hash = Sha256::new();
    hash.update(session.generation().get().to_be_bytes());
    hash.update(representation);
    let mut tag = String::with_capacity(34);
    tag.push('"');
    for byte in &hash.finalize()[..16] {
        write!(tag, "{byte:02x}").expect("writing to a string succeeds");
    }
    tag.push('"');
    HeaderValue::try_from(tag).expect("hexadecimal digits in quotes are visible ASCII")
}

/// The validator of the session object: of what a `PATCH` can change, not of counters and times, which move with each request
/// and would make every `If-Match` fail.
pub(super) fn of_settings(session: &LiveSession, settings: &Settings) -> HeaderValue {
    let complete =
        serde_json::to_vec(settings).expect("settings are a tree of strings and numbers");
    of(session, &complete)
}

/// The condition under which a change may be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// None was given.
    Absent,
    /// `*`: whatever there is.
    Any,
    /// One of these strong tags; weak ones never match here.
    Tags(Vec<Box<[u8]>>),
}

impl IfMatch {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let mut tags = Vec::new();
        let mut lines = fields.get_all(IF_MATCH).iter().peekable();
        if lines.peek().is_none() {
            return Self::Absent;
        }
        for line in lines {
            let line = line.as_bytes().trim_ascii();
            if line == b"*" {
                return Self::Any;
            }
            tags.extend(strong_tags(line));
        }
        Self::Tags(tags)
    }

    /// Whether the change may be made to what has the tag `current`, which is worked out only where it matters.
    ///
    /// # Errors
    /// `precondition-failed`.
    pub(super) fn check(&self, current: impl FnOnce() -> HeaderValue) -> Result<(), Problem> {
        let holds = match self {
            Self::Absent | Self::Any => true,
            Self::Tags(tags) => {
                let current = current();
                tags.iter().any(|tag| **tag == *current.as_bytes())
            }
        };
        match holds {
            true => Ok(()),
            false => Err(Problem::new(
                Name::PreconditionFailed,
                "none of the tags in If-Match is the present one: read it again, then change it",
            )),
        }
    }
}

/// The strong entity-tags of a list, quotes included. A comma may stand within a tag; what is no tag matches nothing.
fn strong_tags(mut list: &[u8]) -> Vec<Box<[u8]>> {
    let mut tags = Vec::new();
    loop {
        let start = list
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b','))
            .unwrap_or(list.len());
        list = &list[start..];
        let (weak, quoted) = match list.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, list),
        };
        let Some(opened) = quoted.strip_prefix(b"\"") else {
            return tags;
        };
        let Some(end) = opened.iter().position(|byte| *byte == b'"') else {
            return tags;
        };
        if !weak {
            tags.push(quoted[..end + 2].into());
        }
        list = &opened[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn permits(lines: &[&'static str]) -> bool {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(IF_MATCH, HeaderValue::from_static(line));
        }
        IfMatch::of(&fields)
            .check(|| HeaderValue::from_static("\"now\""))
            .is_ok()
    }

    #[test]
    fn if_match_compares_strongly() {
        for (lines, wanted) in [
            (&[][..], true),
            (&["*"], true),
            (&["\"now\""], true),
            (&["\"old\", \"now\""], true),
            (&["\"old\",,\t\"now\""], true),
            (&["\"old\"", "\"now\""], true),
            (&["W/\"now\""], false),
            (&["W/\"now\", \"now\""], true),
            (&["\"old\""], false),
            (&["\"a,\"now\""], false),
            (&["\"a,b\", \"now\""], true),
            (&["now"], false),
            (&["\"now"], false),
            (&[""], false),
        ] {
            assert_eq!(permits(lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn the_present_tag_is_not_worked_out_in_vain() {
        assert!(
            IfMatch::of(&HeaderMap::new())
                .check(|| unreachable!("no condition"))
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn any_line_ends(line in prop::collection::vec(any::<u8>(), 0..40)) {
            for tag in strong_tags(&line) {
                prop_assert!(tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\""));
            }
        }
    }
}
