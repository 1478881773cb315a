//! The name of a session, checked once where it enters.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 1 to 128 of `A-Z a-z 0-9 . _ ~ -` (docs/INTERFACE.md, section 3). Cheap to clone.
///
/// ```
/// use burdock::session::SessionId;
///
/// let id: SessionId = "shop-session-1".parse()?;
/// assert_eq!(&*id, "shop-session-1");
/// let error = "shop session".parse::<SessionId>().unwrap_err();
/// assert_eq!(error.to_string(), "byte 0x20 at position 5 is none of `A-Z a-z 0-9 . _ ~ -`");
/// # Ok::<(), burdock::session::InvalidSessionId>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// The greatest length of an id in bytes.
    pub const MAX_LENGTH: usize = 128;

    /// A fresh id from 128 random bits: 26 characters of Crockford's base 32 in lower case.
    #[must_use]
    pub fn generate(random: u128) -> Self {
        const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let text: String = (0..26)
            .rev()
            .map(|place| char::from(ALPHABET[(random >> (place * 5) & 31) as usize]))
            .collect();
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why some text is not a session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSessionId {
    /// There is no byte at all.
    #[error("a session id has at least one character")]
    Empty,
    /// There are more than [`SessionId::MAX_LENGTH`] bytes.
    #[error("{length} bytes are more than the 128 of a session id")]
    TooLong {
        /// How many there are.
        length: usize,
    },
    /// A byte that no id may hold.
    #[error("byte {byte:#04x} at position {position} is none of `A-Z a-z 0-9 . _ ~ -`")]
    Byte {
        /// The byte.
        byte: u8,
        /// Its place, the first byte is 1.
        position: usize,
    },
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let bytes = text.as_bytes();
        if bytes.is_empty() {
            return Err(InvalidSessionId::Empty);
        }
        if bytes.len() > Self::MAX_LENGTH {
            return Err(InvalidSessionId::TooLong {
                length: bytes.len(),
            });
        }
        match bytes.iter().position(|&byte| !is_id_byte(byte)) {
            Some(index) => Err(InvalidSessionId::Byte {
                byte: bytes[index],
                position: index + 1,
            }),
            None => Ok(Self(text.into())),
        }
    }
}

impl TryFrom<&[u8]> for SessionId {
    type Error = InvalidSessionId;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidSessionId> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.parse(),
            Err(error) => {
                // What comes before the broken sequence may hold an offender of its own.
                let index = bytes
                    .iter()
                    .position(|&byte| !is_id_byte(byte))
                    .unwrap_or_else(|| error.valid_up_to());
                Err(InvalidSessionId::Byte {
                    byte: bytes[index],
                    position: index + 1,
                })
            }
        }
    }
}

impl Deref for SessionId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SessionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for SessionId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_error_says_which_byte_at_which_place() {
        let cases: [(&[u8], InvalidSessionId); 6] = [
            (b"", InvalidSessionId::Empty),
            (&[b'a'; 129], InvalidSessionId::TooLong { length: 129 }),
            (
                b"a b",
                InvalidSessionId::Byte {
                    byte: b' ',
                    position: 2,
                },
            ),
            (
                b"a/\xff",
                InvalidSessionId::Byte {
                    byte: b'/',
                    position: 2,
                },
            ),
            (
                b"ab\xff",
                InvalidSessionId::Byte {
                    byte: 0xff,
                    position: 3,
                },
            ),
            (
                "é".as_bytes(),
                InvalidSessionId::Byte {
                    byte: 0xc3,
                    position: 1,
                },
            ),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(
                SessionId::try_from(bytes),
                Err(wanted),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn the_longest_and_the_shortest_are_ids() {
        assert!(SessionId::try_from(&[b'~'; 128][..]).is_ok());
        assert!("-".parse::<SessionId>().is_ok());
    }

    #[test]
    fn a_generated_id_is_one_and_tells_its_bits() {
        assert_eq!(SessionId::generate(0).as_str(), "0".repeat(26));
        assert_eq!(
            SessionId::generate(u128::MAX).as_str(),
            format!("7{}", "z".repeat(25))
        );
        assert_eq!(
            SessionId::generate(33).as_str(),
            format!("{}11", "0".repeat(24))
        );
    }

    #[test]
    fn a_map_is_asked_by_plain_text() {
        let map = HashMap::from([("a".parse::<SessionId>().unwrap(), 1)]);
        assert_eq!(map.get("a"), Some(&1));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_id_or_an_error(bytes: Vec<u8>) {
            if let Ok(id) = SessionId::try_from(&bytes[..]) {
                prop_assert_eq!(id.as_bytes(), &bytes[..]);
            }
        }

        #[test]
        fn what_was_printed_reads_back(text in "[A-Za-z0-9._~-]{1,128}", random: u128) {
            for id in [text.parse::<SessionId>().unwrap(), SessionId::generate(random)] {
                prop_assert_eq!(&id.to_string().parse::<SessionId>().unwrap(), &id);
                let json = serde_json::to_string(&id).unwrap();
                prop_assert_eq!(serde_json::from_str::<SessionId>(&json).unwrap(), id);
            }
        }
    }
}
