//! The file that keys are in.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{KEY, Key, Keyring};

/// A key file that cannot be used. No error repeats what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error(
        "`{}` has mode {mode:04o}, so others can read or change the keys: run `chmod 600 {}`",
        path.display(),
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is no key.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which, the first is 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no key in it.
    #[error("`{}` holds no key: make one with `openssl rand -base64 32`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Keyring {
    /// Reads a key file: a key a line, 32 random bytes in base64 as `openssl rand -base64 32` prints them. The first
    /// seals. Empty lines, and those that begin with `#`, are passed over.
    ///
    /// # Errors
    /// [`KeyFileError`] names file and line.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Read {
            path: path.to_owned(),
            source,
        };
        refuse_exposed(path)?;
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, KeyFileError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let invalid = |reason| KeyFileError::Line {
                path: path.to_owned(),
                line: index + 1,
                reason,
            };
            let bytes = Zeroizing::new(
                BASE64
                    .decode(line)
                    .map_err(|_| invalid("is not a key in base64"))?,
            );
            let bytes: &[u8; KEY] = bytes.as_slice().try_into().map_err(|_| {
                invalid("is not 32 bytes long; make a key with `openssl rand -base64 32`")
            })?;
            let key = Key::new(bytes);
            if keys.iter().any(|other| other.id == key.id) {
                return Err(invalid("has a key that is in the file already"));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| KeyFileError::Empty {
            path: path.to_owned(),
        })?;
        Ok(Self {
            first,
            others: keys.collect(),
        })
    }
}

#[cfg(unix)]
fn refuse_exposed(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = std::fs::metadata(path)
        .map_err(|source| KeyFileError::Read {
            path: path.to_owned(),
            source,
        })?
        .mode()
        & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyFileError::Exposed {
        path: path.to_owned(),
        mode,
    })
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Path) -> Result<(), KeyFileError> {
    // Access there is by inherited lists, not by bits of the file.
    Ok(())
}

/// With or without the `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
pub(super) fn parse(text: &str) -> Result<Keyring, KeyFileError> {
    Keyring::parse(Path::new("keys"), text)
}
