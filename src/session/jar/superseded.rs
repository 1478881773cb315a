//! Values that a session handed out and has since replaced or deleted, remembered as fingerprints.
//!
//! A client with a jar of its own goes on sending them; merge tells such a stale echo from a cookie the client means to set.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::octets::{CookieName, CookieValue};

/// 64 bits of a SHA-256: enough to recognise an echo, too few to tell the value. Printed as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

/// A value of a name that became stale, or fresh again; printed as `<name>:<value>:<1 where it is stale, else 0>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EchoMark {
    /// The name together with the site of its cookies.
    pub name: Fingerprint,
    /// The value together with the name.
    pub value: Fingerprint,
    /// Whether an echo of it is stale from now on.
    pub stale: bool,
}

/// The stale values of a session: at most 32 a name and site, of at most 256 of these; the oldest give way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Superseded {
    /// In the order of their last mark.
    names: Vec<StaleValues>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StaleValues {
    name: Fingerprint,
    /// In the order in which they became stale.
    values: Vec<Fingerprint>,
}

impl EchoMark {
    pub(super) fn stale(site: &str, name: &CookieName, value: &CookieValue) -> Self {
        Self {
            stale: true,
            ..Self::fresh(site, name, value)
        }
    }

    pub(super) fn fresh(site: &str, name: &CookieName, value: &CookieValue) -> Self {
        let name = fingerprint(&[site.as_bytes(), name.as_bytes()]);
        Self {
            name,
            value: fingerprint(&[&name.0.to_be_bytes(), value.as_bytes()]),
            stale: false,
        }
    }
}

/// The text is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no mark of a stale value")]
pub struct InvalidMark;

impl fmt::Display for EchoMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.name, self.value, u8::from(self.stale))
    }
}

impl FromStr for EchoMark {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, InvalidMark> {
        let (name, rest) = text.split_once(':').ok_or(InvalidMark)?;
        let (value, stale) = rest.split_once(':').ok_or(InvalidMark)?;
        Ok(Self {
            name: name.parse()?,
            value: value.parse()?,
            stale: match stale {
                "0" => false,
                "1" => true,
                _ => return Err(InvalidMark),
            },
        })
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidMark;

    fn from_str(text: &str) -> Result<Self, InvalidMark> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidMark);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidMark)
    }
}

impl Superseded {
    /// Marks that make this of an empty one, in order.
    pub fn marks(&self) -> impl Iterator<Item = EchoMark> + '_ {
        self.names.iter().flat_map(|known| {
            known.values.iter().map(|value| EchoMark {
                name: known.name,
                value: *value,
                stale: true,
            })
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `value` is known to have been replaced or deleted.
    pub(super) fn holds(&self, site: &str, name: &[u8], value: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let name = fingerprint(&[site.as_bytes(), name]);
        let Some(known) = self.names.iter().find(|known| known.name == name) else {
            return false;
        };
        known
            .values
            .contains(&fingerprint(&[&name.0.to_be_bytes(), value]))
    }

    pub(super) fn contains(&self, mark: &EchoMark) -> bool {
        self.names
            .iter()
            .any(|known| known.name == mark.name && known.values.contains(&mark.value))
    }

    /// Takes a mark.
    pub fn apply(&mut self, mark: &EchoMark) {
        let place = self.names.iter().position(|known| known.name == mark.name);
        let mut known = match place {
            Some(place) => self.names.remove(place),
            None => StaleValues {
                name: mark.name,
                values: Vec::new(),
            },
        };
        known.values.retain(|value| *value != mark.value);
        if mark.stale {
            if known.values.len() == MAX_VALUES {
                known.values.remove(0);
            }
            known.values.push(mark.value);
        }
        if known.values.is_empty() {
            return;
        }
        if self.names.len() == MAX_NAMES {
            self.names.remove(0);
        }
        self.names.push(known);
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|_| serde::de::Error::custom("a fingerprint is 16 hexadecimal digits"))
    }
}

/// Stores and other processes keep these, so the function must stay the same: SHA-256 over a fixed salt and the parts, each
/// after its length.
fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut hash = Sha256::new_with_prefix(b"burdock stale echo 1");
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (head, _) = digest.split_first_chunk().expect("a SHA-256 has 32 bytes");
    Fingerprint(u64::from_be_bytes(*head))
}

const MAX_VALUES: usize = 32;
const MAX_NAMES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(name: &str, value: &str, stale: bool) -> EchoMark {
        let (name, value) = (
            CookieName::from(name.as_bytes()),
            CookieValue::from(value.as_bytes()),
        );
        EchoMark {
            stale,
            ..EchoMark::fresh("shop.example", &name, &value)
        }
    }

    fn holds(superseded: &Superseded, name: &str, value: &str) -> bool {
        superseded.holds("shop.example", name.as_bytes(), value.as_bytes())
    }

    #[test]
    fn a_value_is_stale_until_it_is_fresh_again() {
        let mut superseded = Superseded::default();
        superseded.apply(&mark("sid", "1", true));
        assert!(holds(&superseded, "sid", "1"));
        assert!(!holds(&superseded, "sid", "2") && !holds(&superseded, "other", "1"));
        assert!(!superseded.holds("other.example", b"sid", b"1"));
        superseded.apply(&mark("sid", "1", false));
        assert_eq!(superseded, Superseded::default());
    }

    #[test]
    fn the_oldest_values_and_names_give_way() {
        let mut superseded = Superseded::default();
        for value in 0..=MAX_VALUES {
            superseded.apply(&mark("sid", &value.to_string(), true));
        }
        assert!(!holds(&superseded, "sid", "0") && holds(&superseded, "sid", "1"));
        superseded.apply(&mark("first", "v", true));
        superseded.apply(&mark("sid", "again", true));
        for name in 0..MAX_NAMES - 1 {
            superseded.apply(&mark(&name.to_string(), "v", true));
        }
        assert!(!holds(&superseded, "first", "v") && holds(&superseded, "sid", "again"));
        assert_eq!(superseded.names.len(), MAX_NAMES);
    }

    #[test]
    fn its_marks_make_it_again() {
        let mut superseded = Superseded::default();
        for (name, value) in [("a", "1"), ("b", "1"), ("a", "2"), ("c", "1"), ("b", "2")] {
            superseded.apply(&mark(name, value, true));
        }
        let mut again = Superseded::default();
        for mark in superseded.marks() {
            again.apply(&mark.to_string().parse().unwrap());
        }
        assert_eq!(again, superseded);
        assert_eq!(superseded.marks().count(), 5);
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        let fresh = mark("a", "1", false);
        let text = fresh.to_string();
        assert_eq!(text.parse(), Ok(fresh));
        for text in [
            "",
            "a:b:0",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
            &format!("+{}", &text[1..]),
        ] {
            assert_eq!(text.parse::<EchoMark>(), Err(InvalidMark), "{text}");
        }
    }

    #[test]
    fn the_fingerprint_is_the_one_that_stores_hold() {
        let mark = mark("sid", "1", true);
        assert_eq!(
            serde_json::to_string(&mark).unwrap(),
            include_str!("tests/fingerprint.json").trim_end()
        );
    }
}
