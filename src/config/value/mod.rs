//! The types that options can have, and how each is read.

mod choice;
mod connect_to;
pub(super) mod duration;
mod endpoint;
mod glob;
mod net;
mod number;
pub(super) mod size;
mod store;
mod token;
mod url_pattern;

use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::message::Host;

use super::mistake::shown;
use super::raw::Raw;

pub(super) use self::choice::{choice, not_among};
pub use self::connect_to::ConnectTo;
pub use self::endpoint::Endpoint;
pub use self::glob::HostGlob;
pub use self::size::ByteSize;
pub use self::store::{DatabaseName, KeyPrefix, StoreUrl};
pub use self::token::Token;
pub use self::url_pattern::UrlPattern;

/// A type of options.
pub(super) trait Value: Sized {
    /// What its values are, for the reference: "duration", "list of paths".
    fn kind() -> String;

    /// Reads a value.
    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>>;
}

/// What is wrong with a value, with the line where it is an item's.
pub(super) struct Problem {
    pub(super) line: Option<usize>,
    pub(super) what: String,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self {
            line: None,
            what: what.into(),
        }
    }
}

/// A value that is written as a string in TOML, and as it is in a variable or flag.
pub(super) trait Text: Sized {
    /// What such a text is: "duration".
    fn kind() -> String;

    /// Reads it. The error says what is wrong, with the text in it where that is no secret.
    fn parse(text: &str) -> Result<Self, String>;
}

impl<T: Text> Value for T {
    fn kind() -> String {
        T::kind()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        let text = text_of(raw, T::kind)?;
        T::parse(text).map_err(|what| vec![Problem::new(what)])
    }
}

/// An empty string is none.
impl<T: Text> Value for Option<T> {
    fn kind() -> String {
        format!("{}; empty: none", T::kind())
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        match text_of(raw, T::kind)? {
            "" => Ok(None),
            _ => T::decode(raw).map(Some),
        }
    }
}

impl<T: Text> Value for Vec<T> {
    fn kind() -> String {
        format!("list of: {}", T::kind())
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        let parsed;
        let items = match raw {
            Raw::Array(items) => items,
            Raw::Text(text) => {
                parsed = items_of(text)?;
                &parsed
            }
            other => return Err(wrong_type(other, "a list in brackets")),
        };
        let mut values = Vec::with_capacity(items.len());
        let mut problems = Vec::new();
        for (line, item) in items {
            match T::decode(item) {
                Ok(value) => values.push(value),
                Err(wrong) => problems.extend(wrong.into_iter().map(|problem| Problem {
                    line: *line,
                    ..problem
                })),
            }
        }
        if problems.is_empty() {
            Ok(values)
        } else {
            Err(problems)
        }
    }
}

impl Value for bool {
    fn kind() -> String {
        "true or false".into()
    }

    fn decode(raw: &Raw) -> Result<Self, Vec<Problem>> {
        match raw {
            Raw::Boolean(value) => Ok(*value),
            Raw::Text(text) => text.parse().map_err(|_| {
                vec![Problem::new(format!(
                    "must be true or false, not `{}`",
                    shown(text)
                ))]
            }),
            other => Err(wrong_type(other, "true or false")),
        }
    }
}

impl Text for PathBuf {
    fn kind() -> String {
        "path".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty where a path is needed".into());
        }
        if text.contains('\0') {
            return Err(format!("`{}` is not a path", shown(text)));
        }
        Ok(text.into())
    }
}

impl Text for Host {
    fn kind() -> String {
        "host name or address".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // An IPv6 literal needs no brackets where no port can follow.
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::V6(address));
        }
        match Self::parse(text) {
            // To the URL standard `*` is a letter like others; here it would be taken for a pattern.
            Ok(host) if !text.contains('*') => Ok(host),
            Ok(_) | Err(_) => Err(format!("`{}` is not a host name or address", shown(text))),
        }
    }
}

fn text_of(raw: &Raw, kind: impl Fn() -> String) -> Result<&str, Vec<Problem>> {
    match raw {
        Raw::String(text) | Raw::Text(text) => Ok(text),
        other => Err(wrong_type(other, &format!("a string ({})", kind()))),
    }
}

fn wrong_type(raw: &Raw, wanted: &str) -> Vec<Problem> {
    vec![Problem::new(format!(
        "must be {wanted}, not {}",
        raw.type_name()
    ))]
}

/// The items of a list in a variable: a TOML array where it begins like one of strings, otherwise
/// separated by commas. (`[::1]:8080` begins with a bracket as well.)
fn items_of(text: &str) -> Result<Vec<(Option<usize>, Raw)>, Vec<Problem>> {
    let text = text.trim();
    let is_array = text.strip_prefix('[').is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.starts_with(['"', '\'', ']'])
    });
    if is_array {
        return match Raw::parse(text) {
            Ok(Raw::Array(items)) => Ok(items.into_iter().map(|(_, item)| (None, item)).collect()),
            Ok(_) | Err(_) => Err(vec![Problem::new(
                "is neither a TOML array nor comma-separated",
            )]),
        };
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items = text
        .split(',')
        .map(|item| (None, Raw::Text(item.trim().to_owned())));
    Ok(items.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems<T: Value>(raw: &Raw) -> Vec<String> {
        match T::decode(raw) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.what).collect(),
        }
    }

    #[test]
    fn a_list_in_a_variable_is_separated_by_commas_or_a_toml_array() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &[]),
            (" ", &[]),
            ("a", &["a"]),
            ("a, b", &["a", "b"]),
            ("[]", &[]),
            (r#"["a,b", 'c']"#, &["a,b", "c"]),
            ("[::1]", &["[::1]"]),
        ];
        for (text, wanted) in cases {
            let got = Vec::<PathBuf>::decode(&Raw::Text(text.into())).ok();
            let wanted = wanted.iter().map(PathBuf::from).collect();
            assert_eq!(got, Some(wanted), "{text}");
        }
        for text in ["a,", ",", r#"["a""#, r#"["a"] x"#, r#"["a", 1]"#] {
            assert_ne!(
                problems::<Vec<PathBuf>>(&Raw::Text(text.into())),
                [""; 0],
                "{text}"
            );
        }
    }

    #[test]
    fn every_item_that_is_wrong_is_told_with_its_line() {
        let raw = Raw::parse("[\n\"a\",\n\"\",\n3]").expect("valid TOML");
        let lines = Vec::<PathBuf>::decode(&raw).map_err(|problems| {
            problems
                .iter()
                .map(|problem| problem.line)
                .collect::<Vec<_>>()
        });
        assert_eq!(lines, Err(vec![Some(3), Some(4)]));
    }

    #[test]
    fn a_value_of_another_type_is_named_but_not_shown() {
        assert_eq!(
            problems::<bool>(&Raw::String("secret".into())),
            ["must be true or false, not a string"]
        );
        assert_eq!(
            problems::<Vec<Token>>(&Raw::String("secret".into())),
            ["must be a list in brackets, not a string"]
        );
        assert_eq!(
            problems::<PathBuf>(&Raw::Integer(Some(1))),
            ["must be a string (path), not a number"]
        );
    }

    #[test]
    fn hosts_are_canonical() {
        for (text, wanted) in [
            ("Shop.Example", "shop.example"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            let host = <Host as Text>::parse(text).map(|host| host.to_string());
            assert_eq!(host.as_deref(), Ok(wanted));
        }
        for text in ["", "shop.example:80", "*", "*.example"] {
            assert!(<Host as Text>::parse(text).is_err(), "{text}");
        }
    }
}
