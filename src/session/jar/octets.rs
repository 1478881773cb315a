//! Names and values as the octets that go over the wire; a value masks itself.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A cookie's name: any octets but controls, `=` and `;`, without white space round them. It may be empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CookieName(Box<[u8]>);

/// A cookie's value: any octets but controls and `;`. `Debug` prints stars; [`CookieValue::as_bytes`] reads it.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieValue(Box<[u8]>);

impl CookieName {
    /// The octets as they go over the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text; octets that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl CookieValue {
    /// The octets as they go over the wire. A secret: not for logs, metrics or events.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As text; octets that are not UTF-8 become U+FFFD. A secret like [`Self::as_bytes`].
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl From<&[u8]> for CookieName {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

impl From<&[u8]> for CookieValue {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

impl From<String> for CookieName {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<String> for CookieValue {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl fmt::Debug for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_text(), f)
    }
}

impl fmt::Debug for CookieValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for CookieName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        stored::serialize(&self.0, serializer)
    }
}

impl Serialize for CookieValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        stored::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for CookieName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        stored::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for CookieValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        stored::deserialize(deserializer).map(Self)
    }
}

/// Octets as a string where they are UTF-8, as nearly all are, else as an array of numbers, so that none is lost.
mod stored {
    use std::fmt;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        octets: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(octets) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(octets),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<[u8]>, D::Error> {
        deserializer.deserialize_any(Octets)
    }

    struct Octets;

    impl<'de> Visitor<'de> for Octets {
        type Value = Box<[u8]>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or an array of octets")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(text.as_bytes().into())
        }

        fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
            Ok(text.into_bytes().into())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut octets = Vec::new();
            while let Some(octet) = seq.next_element::<u8>()? {
                octets.push(octet);
            }
            Ok(octets.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_that_are_not_text_are_stored_as_numbers() {
        for (octets, json) in [
            (&b"a=\"b"[..], r#""a=\"b""#),
            (b"\xe9t\xe9", "[233,116,233]"),
            (b"", r#""""#),
        ] {
            let value = CookieValue::from(octets);
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<CookieValue>(json).unwrap(), value);
        }
        assert!(serde_json::from_str::<CookieName>("[256]").is_err());
        assert!(serde_json::from_str::<CookieName>("1").is_err());
    }

    #[test]
    fn a_name_shows_and_a_value_does_not() {
        assert_eq!(
            format!("{:?}", CookieName::from("sid".to_owned())),
            "\"sid\""
        );
        assert_eq!(
            format!("{:?}", CookieValue::from("secret".to_owned())),
            "***"
        );
    }
}
