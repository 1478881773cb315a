//! Secrets among the stored parts: sealed where there are keys, else in plain.

use zeroize::Zeroizing;

use super::{Codec, Unreadable};
use crate::seal::{OpenError, SEALED};
use crate::session::id::SessionId;

/// Before a plain text that begins like a sealed one, or like one with this before it.
const PLAIN: &[u8] = b"p1.";

/// Where a secret is kept: its seal is bound to that.
pub(super) struct Place<'a> {
    pub(super) id: &'a SessionId,
    /// What it is part of, for errors too.
    pub(super) field: &'static str,
    /// Which of them.
    pub(super) of: &'a [&'a str],
}

impl Codec {
    /// Octets as they are stored: sealed they are ASCII.
    pub(super) fn protect(&self, place: &Place<'_>, secret: &[u8]) -> Vec<u8> {
        match &self.keys {
            Some(keys) => keys.seal(&place.context(), secret).into_bytes(),
            None if secret.starts_with(SEALED.as_bytes()) || secret.starts_with(PLAIN) => {
                [PLAIN, secret].concat()
            }
            None => secret.to_owned(),
        }
    }

    pub(super) fn protect_text(&self, place: &Place<'_>, secret: &str) -> String {
        String::from_utf8(self.protect(place, secret.as_bytes()))
            .expect("a seal is ASCII, and what is not sealed keeps its text")
    }

    /// What was [protected](Self::protect).
    pub(super) fn reveal(
        &self,
        place: &Place<'_>,
        kept: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        if !kept.starts_with(SEALED.as_bytes()) {
            let plain = kept.strip_prefix(PLAIN).unwrap_or(kept);
            return Ok(Zeroizing::new(plain.to_owned()));
        }
        let Some(keys) = &self.keys else {
            return Err(Unreadable::NoKey {
                id: place.id.clone(),
                field: place.field,
            });
        };
        std::str::from_utf8(kept)
            .map_err(|_| OpenError::Form)
            .and_then(|text| keys.open(&place.context(), text))
            .map_err(|source| Unreadable::Sealed {
                id: place.id.clone(),
                field: place.field,
                source,
            })
    }

    pub(super) fn reveal_text(
        &self,
        place: &Place<'_>,
        kept: &str,
    ) -> Result<Zeroizing<String>, Unreadable> {
        let octets = self.reveal(place, kept.as_bytes())?;
        match std::str::from_utf8(&octets) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(place.damaged("is not UTF-8")),
        }
    }
}

impl Place<'_> {
    pub(super) fn damaged(&self, reason: impl Into<String>) -> Unreadable {
        Unreadable::Damaged {
            id: self.id.clone(),
            field: self.field,
            reason: reason.into(),
        }
    }

    fn context(&self) -> Vec<&[u8]> {
        [self.id.as_bytes(), self.field.as_bytes()]
            .into_iter()
            .chain(self.of.iter().map(|part| part.as_bytes()))
            .collect()
    }
}
