//! Secrets at rest: the keys of `sessions.encryption_key_file`, and text that only they open.
//!
//! A sealed text is `s1.<key>.<secret>`: the [id](Keyring) of the key, and the nonce and ciphertext of XChaCha20-Poly1305 in
//! base64url. What it belongs to is its associated data: moved elsewhere it does not open.

mod file;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use self::file::KeyFileError;
#[cfg(test)]
pub(crate) use self::tests::keyring;

/// How a sealed text begins.
pub const SEALED: &str = "s1.";

/// Keys, of which the first seals and every one opens. A key's id is the first 32 bits of its SHA-256 in hexadecimal.
pub struct Keyring {
    first: Key,
    others: Vec<Key>,
}

/// A sealed text that does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not of the form of a sealed text.
    #[error("is no sealed text")]
    Form,
    /// Another key sealed it.
    #[error(
        "is encrypted with key `{0}`, which is not in `sessions.encryption_key_file`: add that key to the file"
    )]
    UnknownKey(Box<str>),
    /// It was changed, or it belongs elsewhere.
    #[error("is encrypted, and was changed or belongs elsewhere")]
    Forged,
}

impl Keyring {
    /// A text that [`Self::open`] opens where the context is the same.
    #[must_use]
    pub fn seal(&self, context: &[&[u8]], secret: &[u8]) -> String {
        let key = &self.first;
        let nonce: [u8; NONCE] = rand::random();
        let aad = associated(context);
        let payload = Payload {
            msg: secret,
            aad: &aad,
        };
        let ciphertext = key
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a secret is shorter than the 256 GiB of a message");
        let mut text = format!("{SEALED}{}.", key.id);
        URL_SAFE_NO_PAD.encode_string([&nonce[..], &ciphertext].concat(), &mut text);
        text
    }

    /// The secret of a sealed text.
    ///
    /// # Errors
    /// [`OpenError`]; it never repeats the text.
    pub fn open(&self, context: &[&[u8]], text: &str) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (id, secret) = text
            .strip_prefix(SEALED)
            .and_then(|rest| rest.split_once('.'))
            .ok_or(OpenError::Form)?;
        let sealed = URL_SAFE_NO_PAD
            .decode(secret)
            .map_err(|_| OpenError::Form)?;
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>().ok_or(OpenError::Form)?;
        let aad = associated(context);
        let mut keys = self.keys().filter(|key| *key.id == *id).peekable();
        if keys.peek().is_none() {
            return Err(OpenError::UnknownKey(shown_id(id)?));
        }
        keys.find_map(|key| {
            let payload = Payload {
                msg: ciphertext,
                aad: &aad,
            };
            key.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
        })
        .map(Zeroizing::new)
        .ok_or(OpenError::Forged)
    }

    /// Fingerprints by which something is found again whose name is itself a secret: HMAC-SHA256 by each key, cut to 128 bits,
    /// that of the key that seals first.
    pub fn fingerprints(&self, name: &[&[u8]]) -> impl Iterator<Item = [u8; 16]> {
        let name = associated(name);
        self.keys().map(move |key| {
            let digest: [u8; 32] = key
                .names
                .clone()
                .chain_update(&name)
                .finalize()
                .into_bytes()
                .into();
            let (head, _) = digest
                .split_first_chunk()
                .expect("an HMAC-SHA256 has 32 bytes");
            *head
        })
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Only the ids of the keys are shown.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys().map(|key| &key.id))
            .finish()
    }
}

struct Key {
    id: Box<str>,
    cipher: XChaCha20Poly1305,
    /// Keyed with a key of its own, made from this one.
    names: Hmac<Sha256>,
}

impl Key {
    fn new(bytes: &[u8; KEY]) -> Self {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let [a, b, c, d, ..] = digest;
        let derived: Zeroizing<[u8; 32]> = Zeroizing::new(
            Sha256::new_with_prefix(b"burdock names 1")
                .chain_update(bytes)
                .finalize()
                .into(),
        );
        Self {
            id: format!("{:08x}", u32::from_be_bytes([a, b, c, d])).into(),
            cipher: XChaCha20Poly1305::new(bytes.into()),
            names: Hmac::new_from_slice(&*derived).expect("an HMAC takes a key of any length"),
        }
    }
}

/// The parts, each after its length, so that no two lists of parts are one text.
fn associated(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"burdock seal 1".to_vec();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(*part);
    }
    bytes
}

/// An id as it may be shown: whatever else stands in its place does not get into an error.
fn shown_id(id: &str) -> Result<Box<str>, OpenError> {
    let is_id = id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.into()).ok_or(OpenError::Form)
}

const KEY: usize = 32;
const NONCE: usize = 24;

#[cfg(test)]
mod tests;
