//! Addresses of stores, and the names of things in them.

use std::fmt;

use super::Text;

/// The URL of a store. It may hold a password, so it prints without user information.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(Box<str>);

impl StoreUrl {
    /// The whole URL, password included; only for the client that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is the address of a store of that kind: `redis` or `mongodb`.
    #[must_use]
    pub fn is_of(&self, store: &str) -> bool {
        self.0.starts_with(store)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        // The last `@` before the path: a password may hold one that is not encoded.
        let authority_ends = rest.find(['/', '?']).unwrap_or(rest.len());
        let host = rest[..authority_ends].rfind('@').map_or(0, |at| at + 1);
        // Neither is a query printed: it may hold secrets too.
        let path_ends = rest.find('?').unwrap_or(rest.len());
        write!(f, "{scheme}://{}", &rest[host..path_ends])
    }
}

impl Text for StoreUrl {
    fn kind() -> String {
        "URL".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // The text may hold a password: it is not repeated.
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("is not a URL: a scheme and `://` are missing".into());
        };
        let known = SCHEMES.contains(&scheme);
        if !known {
            return Err(format!(
                "has the scheme `{}`, not one of {}",
                super::shown(scheme),
                SCHEMES.join(", ")
            ));
        }
        if rest.is_empty()
            || text
                .bytes()
                .any(|byte| byte.is_ascii_control() || byte == b' ')
        {
            return Err("is not a URL: a host is missing, or there is a space in it".into());
        }
        Ok(Self(text.into()))
    }
}

/// What the adapters understand between them; which of them is theirs they say themselves.
const SCHEMES: &[&str] = &[
    "redis",
    "rediss",
    "redis+cluster",
    "rediss+cluster",
    "redis+sentinel",
    "rediss+sentinel",
    "mongodb",
    "mongodb+srv",
];

/// What the keys of a shared store begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefix(Box<str>);

impl KeyPrefix {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for KeyPrefix {
    fn kind() -> String {
        "text".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // Braces would move the hash tag, by which the keys of a session stay in one slot of a cluster.
        if text.len() > 64
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
            || text.contains(['{', '}'])
        {
            return Err(
                "must be at most 64 printable ASCII characters without spaces and braces".into(),
            );
        }
        Ok(Self(text.into()))
    }
}

/// The name of a MongoDB database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseName(Box<str>);

impl DatabaseName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Text for DatabaseName {
    fn kind() -> String {
        "name".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        // MongoDB's manual, "Naming Restrictions".
        let fits = (1..64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"/\\.\"$*<>:|?".contains(&byte));
        if !fits {
            return Err("must be 1 to 63 letters, digits and signs that MongoDB allows".into());
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_prints_without_its_secrets() {
        for (url, printed) in [
            ("redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
            ("rediss://user:p@ss@host:1/0", "rediss://host:1/0"),
            ("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2"),
            (
                "mongodb+srv://u:p@h.example/db?tls=true&x=secret",
                "mongodb+srv://h.example/db",
            ),
            ("redis://:p@h?password=p", "redis://h"),
        ] {
            let url = StoreUrl::parse(url).expect(url);
            assert_eq!(url.to_string(), printed);
            assert_eq!(format!("{url:?}"), printed);
        }
    }

    #[test]
    fn what_is_no_url_of_a_store_is_told_without_repeating_it() {
        for text in [
            "localhost:6379",
            "http://u:secret@h",
            "redis://",
            "redis://h secret",
        ] {
            let problem = StoreUrl::parse(text).expect_err(text);
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn a_database_has_a_name_that_mongodb_allows() {
        assert!(DatabaseName::parse("burdock-1_a").is_ok());
        for text in ["", "a.b", "a b", "$x", &"x".repeat(64)] {
            assert!(DatabaseName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_cannot_move_the_hash_tag() {
        assert!(KeyPrefix::parse("burdock:").is_ok());
        assert!(KeyPrefix::parse("").is_ok());
        for text in ["a{b}", "a b", "ä", &"x".repeat(65)] {
            assert!(KeyPrefix::parse(text).is_err(), "{text}");
        }
    }
}
