//! What can go wrong with the certificate authority, said to the person who must mend it.

use std::io;
use std::path::PathBuf;

use crate::message::Host;
use crate::session::time::Timestamp;

/// The authority cannot be opened or made, or a leaf cannot be minted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The file system said no.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was attempted: `read`, `create`, ...
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The key file may be read by others than its owner.
    #[error(
        "the CA key `{}` has mode {mode:04o}, so others than its owner may use it; run `chmod 600 {}`",
        path.display(),
        path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate without its key: no leaf can be signed, and a new key would break every client's trust.
    #[error(
        "the CA certificate `{}` has no key beside it: put `{}` back, or remove the certificate to have a new CA made (clients must then trust the new one)",
        certificate.display(),
        key.display()
    )]
    KeyMissing {
        /// The certificate that is there.
        certificate: PathBuf,
        /// The key that is not.
        key: PathBuf,
    },
    /// A file holds something else than it should.
    #[error("`{}` holds no usable {wanted}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// Certificate and key are not of one pair.
    #[error(
        "the CA certificate `{}` does not belong to the key `{}`: restore the matching file, or remove both to have a new CA made",
        certificate.display(),
        key.display()
    )]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The authority's certificate has ended.
    #[error(
        "the CA certificate ended at {since}: remove `burdock-ca.pem` to have it renewed under the same key, or that and `burdock-ca.key` for a new one"
    )]
    Expired {
        /// Its last moment.
        since: Timestamp,
    },
    /// A name that no certificate may carry.
    #[error("no certificate can be made for `{host}`: it is not a DNS name")]
    Name {
        /// The host that was asked for.
        host: Host,
    },
    /// Encoding or signing failed.
    #[error("cannot make a certificate")]
    Mint(#[from] rcgen::Error),
    /// The TLS library refused the key or had no randomness.
    #[error("cannot set up TLS towards clients")]
    Tls(#[from] rustls::Error),
}
