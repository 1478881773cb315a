//! The stored form of a record, part by part: the same in the file, in Redis and in MongoDB.
//!
//! A store keeps the parts apart, so that a change writes what it changes and nothing else:
//!
//! - the **head**, one value a field ([`Codec::head`]): times, counters, settings;
//! - **cookies**, each under its [field](cookie_field), as [JSON](Codec::cookie);
//! - **items** of storage, by origin, each under its [field](Codec::item_fields), as [JSON](Codec::item);
//! - **marks** of stale values in the order in which they were made, as text (`EchoMark`'s `Display`), of which a store may
//!   forget all but the newest [`MAX_MARKS`];
//! - the limiter's state, as the store sees fit.
//!
//! [`Codec::reading`] puts them together again.
//!
//! With a [`Keyring`] the values of cookies, names and values of items, header values and the upstream proxy are sealed, each
//! bound to session and field. What was stored in plain, before there was a key, is read as well.
//!
//! # Versions
//! A head begins with its [`FORMAT`]. A record of a later one is refused, and never overwritten.

mod head;
mod item;
mod reading;
mod secret;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

pub(super) use self::head::Head;
use self::secret::Place;
use super::StoreError;
use crate::seal::{Keyring, OpenError};
use crate::session::id::SessionId;
use crate::session::jar::{Cookie, CookieKey, CookieParts, CookieValue, InvalidCookie};

/// The version of the stored form that is written here.
pub(super) const FORMAT: u32 = 1;

/// How many marks a store keeps of a session where it keeps them as a list.
#[allow(dead_code, reason = "for the stores that keep a list")]
pub(super) const MAX_MARKS: usize = 4096;

/// Turns parts of a record into text and back. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    keys: Option<Arc<Keyring>>,
}

/// Something stored that cannot be read. It names session and field, never a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    /// A later version wrote it.
    #[error(
        "session `{id}` was stored by a later version of burdock (format {found}; this one knows {FORMAT}): use that version"
    )]
    Format {
        /// Whose.
        id: SessionId,
        /// The format.
        found: u64,
    },
    /// It is not what was written.
    #[error("the record of session `{id}` is damaged: its {field} {reason}")]
    Damaged {
        /// Whose.
        id: SessionId,
        /// What of it, such as `expires` or `cookie`.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// It is encrypted, and does not open.
    #[error("the record of session `{id}` cannot be read: its {field} {source}")]
    Sealed {
        /// Whose.
        id: SessionId,
        /// What of it.
        field: &'static str,
        /// Why.
        source: OpenError,
    },
    /// It is encrypted, and there is no key.
    #[error(
        "the record of session `{id}` cannot be read: its {field} is encrypted; set `sessions.encryption_key_file`"
    )]
    NoKey {
        /// Whose.
        id: SessionId,
        /// What of it.
        field: &'static str,
    },
}

impl Unreadable {
    /// As the error of a store.
    pub(super) fn of(self, adapter: &'static str) -> StoreError {
        StoreError {
            adapter,
            reason: self.to_string().into(),
        }
    }
}

impl Codec {
    /// A codec that seals secrets, where there are keys.
    #[must_use]
    pub fn new(keys: Option<Arc<Keyring>>) -> Self {
        Self { keys }
    }

    /// A cookie as JSON, its value sealed.
    pub(super) fn cookie(&self, id: &SessionId, cookie: &Cookie) -> String {
        let mut parts = cookie.to_parts();
        let place = Place {
            id,
            field: "cookie",
            of: &[&cookie_field(cookie.key())],
        };
        let kept = self.protect(&place, parts.value.as_bytes());
        parts.value = CookieValue::from(&kept[..]);
        serde_json::to_string(&parts).expect("a cookie's parts are strings, numbers and flags")
    }

    /// A stored cookie; none where its domain has become a public suffix: such a cookie is not sent any more
    /// (RFC 6265bis, section 5.8.3), and must not take the others with it.
    pub(super) fn read_cookie(
        &self,
        id: &SessionId,
        text: &str,
    ) -> Result<Option<Cookie>, Unreadable> {
        let damaged = |reason: String| Unreadable::Damaged {
            id: id.clone(),
            field: "cookie",
            reason,
        };
        let mut parts: CookieParts =
            serde_json::from_str(text).map_err(|error| damaged(broken(&error)))?;
        let key = CookieKey {
            name: parts.name.clone(),
            domain: parts.domain.as_str().into(),
            host_only: parts.host_only,
            path: parts.path.as_str().into(),
            partition: parts.partition.clone().map(Box::new),
        };
        let place = Place {
            id,
            field: "cookie",
            of: &[&cookie_field(&key)],
        };
        let value = self.reveal(&place, parts.value.as_bytes())?;
        parts.value = CookieValue::from(&value[..]);
        match Cookie::new(parts) {
            Ok(cookie) => Ok(Some(cookie)),
            Err(InvalidCookie::PUBLIC_SUFFIX) => Ok(None),
            Err(error) => Err(damaged(error.to_string())),
        }
    }
}

/// The name under which a store keeps a cookie: 128 bits of a SHA-256 over its identity, in base64url. Names hold `.` and `$`,
/// which fields of MongoDB may not.
pub(super) fn cookie_field(key: &CookieKey) -> String {
    let (site, crossed) = match &key.partition {
        Some(partition) => (
            Some(partition.top_level_site.as_bytes()),
            partition.cross_site_ancestor,
        ),
        None => (None, false),
    };
    let mut hash = Sha256::new_with_prefix(b"burdock cookie 1");
    for part in [
        key.name.as_bytes(),
        key.domain.as_bytes(),
        key.path.as_bytes(),
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update([
        u8::from(key.host_only),
        u8::from(site.is_some()),
        u8::from(crossed),
    ]);
    hash.update(site.unwrap_or_default());
    let digest: [u8; 32] = hash.finalize().into();
    field(&digest)
}

/// A field's name out of the first 128 bits of a digest.
fn field(digest: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(&digest[..16])
}

/// Where JSON is broken; the error's own text may repeat a value.
fn broken(error: &serde_json::Error) -> String {
    format!(
        "is not the JSON that was written (column {})",
        error.column()
    )
}
