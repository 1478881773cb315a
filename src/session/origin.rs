//! The origin of a document, as storage is kept by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A tuple origin in its serialized form (`https://shop.example`, `http://127.0.0.1:8000`): scheme, host, and the port where
/// it is not the scheme's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

/// Text that names no tuple origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an origin such as `https://shop.example`")]
pub struct InvalidOrigin;

impl Origin {
    /// The serialized origin.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Reads an `http` or `https` origin in any spelling (capitals, default port, a final `/`).
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let url = url::Url::parse(text).map_err(|_| InvalidOrigin)?;
        let bare = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if bare {
            Ok(Self(url.origin().ascii_serialization().into()))
        } else {
            Err(InvalidOrigin)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_canonical_or_refused() {
        for (text, wanted) in [
            ("https://Shop.Example:443/", Some("https://shop.example")),
            ("http://127.0.0.1:8000", Some("http://127.0.0.1:8000")),
            ("http://[::1]", Some("http://[::1]")),
            ("https://shop.example/a", None),
            ("https://u@shop.example", None),
            ("shop.example", None),
            ("file:///", None),
            ("null", None),
        ] {
            assert_eq!(
                text.parse::<Origin>().ok().as_ref().map(Origin::as_str),
                wanted,
                "{text}"
            );
        }
    }
}
